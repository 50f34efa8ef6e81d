from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import Adam

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.data import FakeData
from lightning_transfer.edits import LoRA, TokenPrompt
from lightning_transfer.optim import ParamGroups

HEAD = {"model.head.weight", "model.head.bias"}
SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 2}
FAMILIES = [
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",  # two tokens in front
    "deit3_small_patch16_224",  # position embeddings for patches alone
    "vit_small_patch14_reg4_dinov2",  # with registers
    "vit_base_patch32_clip_224",  # a norm in front of the blocks
    "vit_base_patch16_siglip_224",  # no class token, attention pooling
    "vit_base_patch16_siglip_gap_224",  # average pooling
    "flexivit_small",
]
IMAGE = torch.rand(3, 3, 56, 56, generator=torch.Generator().manual_seed(0))


def backbone(name, deep, tokens, **options):
    torch.manual_seed(0)
    made = FinetuneModule(
        TimmBackbone(name, pretrained=False, options=SMALL | options),
        4,
        edits=[] if tokens is None else [TokenPrompt(tokens, deep)],
        image_size=56,
    )
    return made.eval().model.backbone


def prompts(module):
    return {name for name, _ in module.named_parameters() if name.endswith(".prompt")}


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_without_tokens_it_is_the_backbone_and_with_them_shapes_are_as_ever(name, deep):
    plain, none, some = (backbone(name, deep, tokens)(IMAGE) for tokens in (None, 0, 3))
    assert torch.equal(none.embedding, plain.embedding)
    assert torch.equal(none.maps[0], plain.maps[0])
    assert some.maps[0].shape == plain.maps[0].shape
    assert not torch.equal(some.embedding, plain.embedding)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", FAMILIES[:7])
def test_computes_what_the_paper_writes(name, deep):
    """One row of tokens from the first block to the last norm, of which deep prompts replace the earlier ones' outputs."""
    found, plain = backbone(name, deep, 3), backbone(name, deep, None)
    blocks = found.model.blocks
    with torch.no_grad():
        for key in prompts(found):
            found.get_parameter(key).normal_()
        model = plain.model
        prefix = model.num_prefix_tokens
        x = model.norm_pre(model._pos_embed(model.patch_embed((IMAGE - plain.mean) / plain.std)))
        x = torch.cat([x[:, :prefix], blocks[0].prompt.expand(len(x), -1, -1), x[:, prefix:]], 1)
        for i, block in enumerate(model.blocks):
            if deep and i > 0:
                x[:, prefix : prefix + 3] = blocks[i].prompt
            x = block(x)
        x = model.norm(x)
        x = torch.cat([x[:, :prefix], x[:, prefix + 3 :]], 1)
        torch.testing.assert_close(found(IMAGE).maps[0], x, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found(IMAGE).embedding, model.forward_head(x, pre_logits=True), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("deep", [False, True])
def test_only_prompts_and_head_train(deep, adapted, trained, moved):
    module, _ = adapted("test_vit", TokenPrompt(4, deep))
    assert len(prompts(module)) == (len(module.model.backbone.model.blocks) if deep else 1)
    assert trained(module) == prompts(module) | HEAD
    assert moved(module) == prompts(module) | HEAD


def test_the_backbone_is_bit_equal_after_a_training(trainer):
    module = FinetuneModule(
        TimmBackbone("test_vit", pretrained=False, options={"drop_path_rate": 0.5}),
        4,
        Optim(partial(Adam, lr=0.01)),
        edits=[TokenPrompt(4, deep=True, dropout=0.1)],
    )
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer(max_epochs=2).fit(module, FakeData(image_size=32, num_workers=0))
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == prompts(module) | HEAD


@pytest.mark.parametrize(
    ("tokens", "deep", "classes", "count"),
    [
        (
            100,
            True,
            6,
            926_214,
        ),  # as the paper's authors' notebook counts them: 12 blocks x 100 tokens x 768, and a head
        (100, True, 10, 929_290),
        (50, False, 10, 50 * 768 + 7_690),
    ],
)
def test_counts_of_trained_parameters(tokens, deep, classes, count):
    with torch.device("meta"):
        base = TimmBackbone("vit_base_patch16_224", pretrained=False)
        module = FinetuneModule(base, classes, edits=[TokenPrompt(tokens, deep)])
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == count


def test_starts_from_the_uniform_distribution_of_its_bound():
    prompt = backbone("vit_tiny_patch16_224", False, 200).model.blocks[0].prompt
    bound = (6 / (3 * 16**2 + 48)) ** 0.5
    assert 0.99 * bound < prompt.abs().max() <= bound
    assert prompt.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def seen(network, layers):
    """Outputs of a backbone's modules."""
    found = {}
    hooks = [
        network.get_submodule(layer).register_forward_hook(lambda *call, layer=layer: found.update({layer: call[2]}))
        for layer in layers
    ]
    network(IMAGE)
    for hook in hooks:
        hook.remove()
    return found


def test_a_deep_prompt_changes_nothing_in_front_of_its_block():
    network = backbone("vit_tiny_patch16_224", True, 3, depth=4)
    layers = [f"model.blocks.{i}" for i in range(4)]
    before = seen(network, layers)
    with torch.no_grad():
        network.model.blocks[2].prompt += 1
    after = seen(network, layers)
    assert [torch.equal(before[layer], after[layer]) for layer in layers] == [True, True, False, False]


@pytest.mark.parametrize("deep", [False, True])
def test_what_becomes_of_a_prompt_reaches_the_next_block_only_if_shallow(deep):
    network = backbone("vit_small_patch14_reg4_dinov2", deep, 3, depth=3)
    inner = "model.blocks.0.base"
    outputs = {}
    hook = network.get_submodule(inner).register_forward_hook(lambda *call: outputs.update(first=call[2]))
    embedding = network(IMAGE).embedding
    hook.remove()
    (gradient,) = torch.autograd.grad(embedding.square().sum(), outputs["first"])
    alive = gradient.abs().sum((0, 2)) > 0
    prefix = network.model.num_prefix_tokens
    assert bool(alive[prefix : prefix + 3].any()) is not deep
    assert bool(alive[:prefix].all())
    assert bool(alive[prefix + 3 :].all())


@pytest.mark.parametrize("deep", [False, True])
def test_every_prompt_has_a_gradient(deep):
    network = backbone("vit_base_patch16_siglip_224", deep, 3)
    network(IMAGE).embedding.square().sum().backward()
    for key in prompts(network):
        assert bool((network.get_parameter(key).grad.abs().sum(1) > 0).all())


@pytest.mark.parametrize("deep", [False, True])
def test_the_order_of_prompts_is_none(deep):
    network = backbone("vit_tiny_patch16_224", deep, 5)
    with torch.no_grad():
        first = network(IMAGE)
        for key in prompts(network):
            network.get_parameter(key).copy_(network.get_parameter(key)[[3, 1, 4, 0, 2]])
        second = network(IMAGE)
    torch.testing.assert_close(second.maps[0], first.maps[0], rtol=1e-4, atol=1e-5)


def test_dropout_drops_prompts_in_training_alone():
    module = FinetuneModule(TimmBackbone("test_vit", pretrained=False), 4, edits=[TokenPrompt(5, dropout=0.5)])
    image = torch.rand(2, 3, 32, 32)
    embed = lambda: module(image).features.embedding  # noqa: E731
    module.train()
    assert not torch.equal(embed(), embed())
    module.eval()
    assert torch.equal(embed(), embed())


def test_deep_prompts_learn_at_the_rate_of_their_block():
    module = FinetuneModule(TimmBackbone("test_vit", pretrained=False), 4, edits=[TokenPrompt(2, deep=True)])
    groups = ParamGroups(layer_decay=0.5)(module.model)
    factor = {id(p): group["lr_factor"] for group in groups for p in group["params"]}
    rates = [factor[id(block.prompt)] for block in module.model.backbone.model.blocks]
    assert rates == [0.5 ** (len(rates) - i) for i in range(len(rates))]
    assert factor[id(module.model.head.weight)] == 1


def test_lora_may_train_beside_it(adapted, trained):
    pytest.importorskip("peft")
    for edits in ([TokenPrompt(2), LoRA(rank=2)], [LoRA(rank=2), TokenPrompt(2)]):
        module, _ = adapted("test_vit", *edits)
        kinds = {
            name.split(".")[-1] if name.endswith("prompt") else name.split(".")[-3] for name in trained(module) - HEAD
        }
        assert kinds == {"prompt", "lora_A", "lora_B"}


@pytest.mark.parametrize("deep", [False, True])
def test_compiles_without_a_break(deep):
    network = backbone("vit_tiny_patch16_224", deep, 3)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(IMAGE).embedding, network(IMAGE).embedding)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_resnet", {}),
        ("test_vit_relpos", {}),
        ("beit_base_patch16_224", {"depth": 1, "embed_dim": 48, "num_heads": 2}),
        ("cait_xxs24_224", {"depth": 1, "embed_dim": 48, "num_heads": 2}),
        ("eva02_tiny_patch14_224", {"depth": 1, "embed_dim": 48, "num_heads": 2}),
        ("vit_small_patch16_dinov3", {"depth": 1, "embed_dim": 48, "num_heads": 2}),
        ("swin_tiny_patch4_window7_224", {"depths": (1, 1), "embed_dim": 24, "num_heads": (1, 1)}),
        ("xcit_nano_12_p16_224", {"depth": 1}),
    ],
)
def test_other_families_get_a_sentence(name, options):
    base = TimmBackbone(name, pretrained=False, options=options)
    kind = type(base.model).__name__
    with pytest.raises(
        ValueError, match=f"plain vision transformers .vit_.*DINOv2, CLIP and SigLIP.* is a {kind}; LoRA"
    ):
        FinetuneModule(base, 4, edits=[TokenPrompt()])


def test_twice_gets_a_sentence():
    with pytest.raises(ValueError, match="has a TokenPrompt already"):
        FinetuneModule(TimmBackbone("test_vit", pretrained=False), 4, edits=[TokenPrompt(), TokenPrompt(deep=True)])


def test_values_out_of_range_get_a_sentence():
    with pytest.raises(ValueError, match="num_tokens=-1"):
        TokenPrompt(-1)
    with pytest.raises(ValueError, match=r"dropout=1\.0"):
        TokenPrompt(dropout=1.0)


def test_cannot_be_folded():
    with pytest.raises(ValueError, match="TokenPrompt cannot be merged"):
        TokenPrompt.fold(nn.Identity())
