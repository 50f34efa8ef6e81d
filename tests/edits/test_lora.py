import re
import sys

import pytest
import torch
from torch import nn

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.edits import Adapter, BitFit, LoRA

NAMES = ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"]
HEAD = {"model.head.weight", "model.head.bias"}


def lora(module):
    return {name for name, _ in module.named_parameters() if ".lora_A." in name or ".lora_B." in name}


def layers(module):
    return {name.partition(".lora_")[0].removeprefix("model.") for name in lora(module)}


@pytest.mark.parametrize("name", NAMES)
def test_starts_as_the_backbone_and_moves_only_its_own(name, adapted, trained, moved):
    module, plain = adapted(name, LoRA(rank=2))
    image = torch.rand(4, 3, 32, 32)
    assert torch.equal(module.eval()(image).logits, plain.eval()(image).logits)
    assert torch.equal(module.train()(image).logits, plain(image).logits)  # frozen norms stay in evaluation
    assert trained(module) == lora(module) | HEAD
    assert moved(module) == lora(module) | HEAD


@pytest.mark.parametrize("name", NAMES)
def test_what_it_learned_folds_into_the_weights(name, adapted, moved):
    module, plain = adapted(name, LoRA(rank=3, alpha=12))
    moved(module)
    image = torch.rand(4, 3, 32, 32)
    learned = module.eval()(image).logits
    LoRA.fold(module.model)
    assert not lora(module)
    assert module.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(module(image).logits, learned, rtol=1e-5, atol=1e-5)
    assert (learned - plain.eval()(image).logits).abs().max() > 1e-2


def test_a_layer_computes_its_formula(adapted):
    module, _ = adapted("test_vit", LoRA(rank=2, alpha=6, targets=r"blocks\.0\.attn\.proj"))
    layer = module.model.backbone.model.blocks[0].attn.proj
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    with torch.no_grad():
        b.normal_()
        x = torch.randn(5, a.shape[1])
        torch.testing.assert_close(layer(x), layer.base_layer(x) + 6 / 2 * x @ a.T @ b.T)
    assert a.shape[0] == b.shape[1] == 2


def test_by_default_all_layers_but_the_stem_and_grouped_convolutions(adapted):
    module, plain = adapted("test_vit", LoRA(rank=1))
    linear = {n for n, m in plain.model.named_modules() if isinstance(m, nn.Linear) and n.startswith("backbone")}
    assert layers(module) == linear
    module, plain = adapted("test_efficientnet", LoRA(rank=1))
    convs = {n: m for n, m in plain.model.named_modules() if isinstance(m, nn.Conv2d)}
    assert layers(module) == {n for n, m in convs.items() if m.groups == 1} - {"backbone.model.conv_stem"}


def test_says_what_is_left_out(adapted, caplog):
    caplog.set_level("INFO")
    _, plain = adapted("test_efficientnet", LoRA(rank=1))
    grouped = sum(m.groups > 1 for m in plain.model.modules() if isinstance(m, nn.Conv2d))
    assert grouped > 0
    assert f"left out: {grouped} grouped convolutions" in caplog.text


def test_layers_that_standardise_their_weight_are_left_out(adapted, caplog):
    caplog.set_level("INFO")
    module, _ = adapted("test_nfnet", LoRA(rank=1))
    assert "layers that alter their weight" in caplog.text
    assert not any(re.search(r"\.conv\d", layer) for layer in layers(module))
    with pytest.raises(ValueError, match=r"targets='conv1'.*matches no layer"):
        adapted("test_nfnet", LoRA(rank=1, targets="conv1"))


def test_attention_that_reads_the_weight_itself_is_left_out(adapted, moved, caplog):
    caplog.set_level("INFO")
    module, _ = adapted("beit_base_patch16_224", LoRA(rank=1), depth=1, embed_dim=16, num_heads=2, img_size=32)
    assert "1 attention layers that are never called" in caplog.text
    assert moved(module) >= lora(module)  # each that is there does something
    assert not any("qkv" in layer for layer in layers(module))


def test_targets_choose_and_no_match_names_layers(adapted):
    module, _ = adapted("test_resnet", LoRA(rank=1, targets=r"layer4.*conv2"))
    assert layers(module) == {"backbone.model.layer4.0.conv2"}
    with pytest.raises(ValueError, match=r"targets='attn'.*backbone\.model\.layer1\.0\.conv1"):
        adapted("test_resnet", LoRA(targets="attn"))


def test_adds_up_with_other_edits(adapted, trained):
    for edits in ([BitFit(), LoRA(rank=1)], [LoRA(rank=1), BitFit()]):
        module, _ = adapted("test_vit", *edits)
        biases = {n for n, _ in module.named_parameters() if n.endswith("bias")}
        assert trained(module) == lora(module) | biases | HEAD
    module, _ = adapted("test_vit", Adapter(2), LoRA(rank=1))
    assert not any("adapter" in name for name in layers(module))
    with pytest.raises(ValueError, match="has a LoRA already"):
        adapted("test_vit", LoRA(rank=1), LoRA(rank=1))


def test_dropout_drops_in_training_alone(adapted, moved):
    module, _ = adapted("test_vit", LoRA(rank=2, dropout=0.5))
    moved(module)
    image = torch.rand(4, 3, 32, 32)
    assert torch.equal(module.eval()(image).logits, module(image).logits)
    assert not torch.equal(module.train()(image).logits, module(image).logits)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rank": 0}, "rank=0"), ({"alpha": 0.0}, r"alpha=0\.0"), ({"dropout": 1.0}, r"dropout=1\.0")],
)
def test_refuses_values_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        LoRA(**options)


def test_names_the_extra_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModuleNotFoundError, match=r"lightning_transfer\[peft\]"):
        FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, edits=[LoRA()])


def test_broken_weights_are_not_merged(adapted):
    module, _ = adapted("test_vit", LoRA(rank=1, targets=r"blocks\.0\.attn\.proj"))
    with torch.no_grad():
        module.model.backbone.model.blocks[0].attn.proj.lora_B["default"].weight.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"attn\.proj cannot be merged: its weights are not finite"):
        LoRA.fold(module.model)
