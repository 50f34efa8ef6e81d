import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD

from lightning_transfer.backbones import TimmBackbone
from lightning_transfer.heads import LinearHead
from lightning_transfer.models import Classifier
from lightning_transfer.optim import Optim, ParamGroups, WarmupCosine


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


def test_schedule_equals_the_formula():
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule, rates = WarmupCosine(optimizer, 20, warmup=0.2, final_factor=0.1), []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert rates[12] == pytest.approx(2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 8 / 16))))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2)


def test_refuses_endless_training_and_frozen_models():
    with pytest.raises(ValueError, match="max_epochs"):
        Optim().build(classifier(), float("inf"))
    with pytest.raises(ValueError, match="no parameter is trainable"):
        ParamGroups()(classifier().requires_grad_(False))
