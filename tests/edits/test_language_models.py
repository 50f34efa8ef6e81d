"""Edits that know nothing of language models, on language models."""

import re

import pytest
import torch
from tiny import bert, gpt2, llama
from torch import nn

from lightning_transfer.edits import BitFit, FreezeBackbone, LoRA, SoftPrompt


class Holder(nn.Module):
    """A model with nothing but a backbone."""

    def __init__(self, backbone, *edits):
        super().__init__()
        self.backbone = backbone
        for edit in edits:
            edit(self)


def trained(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def adapted(model):
    return {name.partition(".lora_")[0].split(".")[-1] for name in trained(model) if ".lora_" in name}


def scores(backbone):
    ids = torch.arange(4, 16)[None]
    return (
        backbone.fill(torch.cat([ids, torch.tensor([[1]])], 1), torch.tensor([13]))
        if backbone.masked
        else (backbone.read(ids, torch.tensor([12]))[0])
    )


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (llama, {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        (gpt2, {"c_attn", "c_proj", "c_fc"}),
        (bert, {"query", "key", "value", "dense"}),
    ],
)
def test_lora_adapts_all_layers_but_the_scores_and_folds(make, layers):
    pytest.importorskip("peft")
    plain, model = make(), Holder(make(), LoRA(rank=2))
    assert adapted(model) == layers
    assert torch.equal(scores(model.backbone), scores(plain))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(2):
        scores(model.backbone)[0, -1].square().mean().backward()
        optimizer.step()
    assert all((".lora_" in name) == (p.grad is not None) for name, p in model.named_parameters())
    learned = scores(model.backbone).detach()
    assert (learned - scores(plain)).abs().max() > 1e-2
    LoRA.fold(model)
    torch.testing.assert_close(scores(model.backbone), learned, rtol=1e-4, atol=1e-4)
    assert model.backbone.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize(("make", "targets"), [(llama, "q_proj|v_proj"), (gpt2, "c_attn")])
def test_lora_adapts_attention_alone_where_told(make, targets):
    pytest.importorskip("peft")
    assert adapted(Holder(make(), LoRA(rank=2, targets=targets))) == set(targets.split("|"))


def test_lora_leaves_tied_scores_alone():
    pytest.importorskip("peft")
    with pytest.raises(ValueError, match=re.escape("LoRA(targets='lm_head') matches no layer that it could adapt")):
        Holder(llama(), LoRA(targets="lm_head"))


def test_lora_takes_scores_of_their_own_where_told():
    pytest.importorskip("peft")
    backbone = llama()
    backbone.model.lm_head.weight = nn.Parameter(backbone.model.lm_head.weight.detach().clone())
    assert adapted(Holder(backbone, LoRA(targets="lm_head"))) == {"lm_head"}


@pytest.mark.parametrize("make", [gpt2, bert])
def test_bitfit_trains_biases(make):
    model = Holder(make(), BitFit())
    assert trained(model) == {name for name, _ in model.named_parameters() if name.endswith("bias")}


def test_bitfit_finds_no_bias_in_a_llama():
    with pytest.raises(ValueError, match="BitFit found no bias"):
        Holder(llama(), BitFit())


def test_frozen_models_train_what_is_put_in_front():
    assert not trained(Holder(llama(), FreezeBackbone()))
    assert trained(Holder(llama(), FreezeBackbone(), SoftPrompt(2))) == {"backbone.prompt.entry"}
