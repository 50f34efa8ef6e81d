import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD

from lightning_transfer.backbones import TimmBackbone
from lightning_transfer.heads import LinearHead
from lightning_transfer.models import Classifier
from lightning_transfer.optim import Optim, ParamGroups, StepDecay, WarmupCosine


def classifier():
    return Classifier(TimmBackbone("test_resnet", pretrained=False), LinearHead, 3)


def test_every_trainable_parameter_is_in_exactly_one_group():
    model = classifier()
    model.backbone.model.conv1.requires_grad_(False)
    groups = ParamGroups()(model)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_head_learns_faster_and_norms_do_not_decay():
    model = classifier()
    optimizer = Optim(partial(SGD, lr=0.1, weight_decay=0.5), None, ParamGroups(head_multiplier=10)).build(model, 10)[
        "optimizer"
    ]
    rates = {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert rates == {
        "backbone": (0.1, 0.5),
        "backbone/no_decay": (0.1, 0.0),
        "head": (1.0, 0.5),
        "head/no_decay": (1.0, 0.0),
    }


@pytest.mark.parametrize("warmup", [0.2, 4])  # a share, and steps
def test_schedule_equals_the_formula(warmup):
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule, rates = WarmupCosine(optimizer, 20, warmup=warmup, final_factor=0.1), []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert rates[12] == pytest.approx(2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 8 / 16))))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2)


def test_a_short_training_ends_within_a_warm_up_in_steps():
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    WarmupCosine(optimizer, 2, warmup=1000)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.001)


@pytest.mark.parametrize("warmup", [-0.1, 1.5])
def test_refuses_a_warm_up_that_is_none(warmup):
    with pytest.raises(ValueError, match=f"warmup={warmup} must be a share of the steps.*whole number"):
        WarmupCosine(SGD([nn.Parameter(torch.zeros(1))], lr=1.0), 20, warmup=warmup)


def test_refuses_endless_training_and_frozen_models():
    with pytest.raises(ValueError, match="max_epochs"):
        Optim().build(classifier(), float("inf"))
    with pytest.raises(ValueError, match="no parameter is trainable"):
        ParamGroups()(classifier().requires_grad_(False))


def by_name(groups):
    return {group["name"]: group for group in groups}


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
def test_layer_decay_multiplies_the_rate_itself_whatever_is_frozen(name):
    model = Classifier(TimmBackbone(name, pretrained=False), LinearHead, 3)
    groups = ParamGroups(layer_decay=0.5, head_multiplier=3)
    optimizer = Optim(partial(SGD, lr=1.0), None, groups).build(model, 10)["optimizer"]
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    layers = sorted({int(label.split("/")[1].split()[1]) for label in rates if "layer" in label})
    for layer in layers:
        assert {rate for label, rate in rates.items() if f"layer {layer}/" in f"{label}/"} == {
            0.5 ** (layers[-1] + 1 - layer)
        }
    assert rates["head"] == 3
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(
            "head" in name or model.backbone.stages(coarse=False)[name.removeprefix("backbone.")] == layers[-1]
        )
    few = {group["name"]: group["lr_factor"] for group in groups(model)}
    assert few == {label: rate for label, rate in rates.items() if label in few}


def test_schedulers_of_torch_obey_layer_decay():
    model = classifier()
    built = Optim(partial(SGD, lr=1.0), partial(WarmupCosine, warmup=0.5), ParamGroups(layer_decay=0.5)).build(model, 8)
    optimizer, schedule = built["optimizer"], built["lr_scheduler"]["scheduler"]
    for _ in range(6):
        optimizer.step()
        schedule.step()
        rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
        assert rates["backbone/layer 4"] == pytest.approx(0.5 * rates["head"])
        assert rates["backbone/layer 2"] == pytest.approx(0.125 * rates["head"])


def test_named_rates_multiply_and_exclude_each_other():
    groups = by_name(ParamGroups(rates={"layer4": 0.1, "conv1.0": 0}, head_multiplier=2)(classifier()))
    assert groups["backbone/layer4"]["lr_factor"] == 0.1
    assert groups["backbone/conv1.0"]["lr_factor"] == 0
    assert groups["head"]["lr_factor"] == 2
    with pytest.raises(ValueError, match=r"'layer4' and 'bn2' both name backbone\.model\.layer4"):
        ParamGroups(rates={"layer4": 0.1, "bn2": 0.2})(classifier())
    with pytest.raises(ValueError, match="'layer7' names no trainable parameter"):
        ParamGroups(rates={"layer7": 0.1})(classifier())


def test_position_embeddings_do_not_decay():
    model = Classifier(TimmBackbone("test_vit", pretrained=False), LinearHead, 3)
    groups = by_name(ParamGroups()(model))
    spared = {id(p) for p in groups["backbone/no_decay"]["params"]}
    assert {id(model.backbone.model.pos_embed), id(model.backbone.model.cls_token)} <= spared


@pytest.mark.parametrize(("options", "message"), [
    ({"layer_decay": 0.0}, "layer_decay=0.0"), ({"layer_decay": 1.5}, "layer_decay=1.5"), ({"head_multiplier": 0}, "head_multiplier=0"),
    ({"rates": {"x": -1}}, "must not be negative"),
])  # fmt: skip
def test_refuses_factors_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        ParamGroups(**options)


def test_step_decay_falls_at_shares_of_the_training():
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, rates = StepDecay(optimizer, 100, milestones=[0.5, 0.72]), []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1.0] * 50 + [0.1] * 22 + [0.01] * 28)
    with pytest.raises(ValueError, match=r"milestones=\[100\] of StepDecay are shares"):
        StepDecay(optimizer, 100, milestones=[100])


def test_names_the_parts_of_a_prompted_model():
    model = nn.ModuleDict({"prompt": nn.Linear(2, 2), "source": nn.Linear(2, 2).requires_grad_(False)})
    assert [group["name"] for group in ParamGroups()(model)] == ["prompt", "prompt/no_decay"]
    with pytest.raises(ValueError, match="divide a backbone, and the model trains none"):
        ParamGroups(layer_decay=0.5)(model)
