from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear, normalize
from torch.optim import SGD, Adam

from lightning_transfer.fewshot import BaselinePlusPlus, PrototypeRule
from lightning_transfer.fewshot.descend import descend
from lightning_transfer.parts import describe


@pytest.mark.parametrize("classifier", ["cosine", "linear"])
@pytest.mark.parametrize("optimizer", [None, partial(Adam, lr=0.01)])
def test_equals_a_head_trained_on_each_episode(task, classifier, optimizer):
    of = task()
    of.support, of.target = (
        of.support[:, :-1],
        of.target[:, :-1],
    )  # of even ways a bias's gradient is rounding, which Adam blows up
    logits = BaselinePlusPlus(classifier, 25, scale=5.0, optimizer=optimizer)(*of.parts())
    default = partial(SGD, lr=0.01, momentum=0.9, dampening=0.9, weight_decay=0.001)
    for e, (support, target, query) in enumerate(of.each()):
        head = nn.Linear(16, 4, bias=classifier == "linear")
        means = torch.stack([support[target == k].mean(dim=0) for k in range(4)])
        head.weight.data = normalize(means, dim=1) if classifier == "cosine" else torch.zeros(4, 16)
        if classifier == "linear":
            head.bias.data.zero_()

        def said(x, head=head):
            return head(x) if classifier == "linear" else 5 * linear(normalize(x, dim=1), normalize(head.weight, dim=1))

        stepper = (optimizer or default)(head.parameters())
        for _ in range(25):
            stepper.zero_grad()
            cross_entropy(said(support), target).backward()
            stepper.step()
        torch.testing.assert_close(logits[e], said(query).detach(), atol=1e-4, rtol=1e-3)


def test_lowers_the_loss_on_the_support_from_prototypes_on(task):
    of = task(noise=2.0)
    losses = [
        cross_entropy(rule(of.support, of.target, of.support).flatten(0, 1), of.target.flatten())
        for rule in (PrototypeRule("cosine", 10.0), BaselinePlusPlus(steps=50), BaselinePlusPlus(steps=500))
    ]
    assert losses[0] > losses[1] > losses[2]


def test_lengths_do_not_count_for_cosines(task):
    of = task()
    rule = BaselinePlusPlus(steps=50)
    torch.testing.assert_close(rule(9 * of.support, of.target, 0.1 * of.query), rule(*of.parts()), atol=1e-4, rtol=1e-4)


def test_the_caller_keeps_gradients_as_they_were(task):
    of = task()
    support = of.support.requires_grad_()
    logits = BaselinePlusPlus(steps=2)(support, of.target, of.query)
    assert support.grad is None
    assert not logits.requires_grad  # what is trained is cut off from the backbone


def test_descends_to_each_minimum_where_nobody_may_differentiate():
    with torch.inference_mode():
        goal = torch.tensor([[1.0], [-3.0]])
        (found,) = descend(
            lambda x, goal: (x - goal).square().sum(), [torch.zeros(2, 1)], [goal], partial(SGD, lr=0.1), 100
        )
        torch.testing.assert_close(found, goal)


def test_its_optimiser_is_recorded():
    recorded = describe(BaselinePlusPlus(optimizer=partial(Adam, lr=0.01)))["init_args"]
    assert recorded["optimizer"] == {"class_path": "torch.optim.adam.Adam", "init_args": {"lr": 0.01}}
