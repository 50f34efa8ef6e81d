from functools import partial

import pytest
import torch
from torch.nn.functional import normalize

from lightning_transfer.fewshot import TIM, TIMADM, SimpleShot
from lightning_transfer.fewshot.distances import prototypes


def entropy(probability):
    return -(probability * probability.log()).sum(dim=-1)


def test_the_loss_equals_a_slow_loop(task):
    of = task()
    rule = TIM(support_weight=0.3, conditional_weight=0.2, scale=2.0)
    ways = torch.randn(3, 4, 16)
    labels = torch.nn.functional.one_hot(of.target).float()
    total = 0
    for e in range(3):
        answers = [(-2 * torch.cdist(x[e], ways[e]).square()).softmax(dim=1) for x in (of.support, of.query)]
        right = answers[0][range(12), of.target[e]]
        mean = answers[1].mean(dim=0)
        total += -0.3 * right.log().mean() - entropy(mean) + 0.2 * (entropy(answers[1].clamp(min=1e-30))).mean()
    torch.testing.assert_close(rule.loss(ways, of.support, labels, of.query), total, atol=1e-3, rtol=1e-4)


def test_the_loss_has_a_gradient_where_a_way_is_never_answered():
    query = torch.tensor([[[0.0], [1.0]]])
    ways = torch.tensor([[[0.0], [1e4]]], requires_grad=True)
    TIM(scale=100.0).loss(ways, query, torch.eye(2).unsqueeze(0), query).backward()
    assert ways.grad.isfinite().all()


@pytest.mark.parametrize("make", [partial(TIM, steps=200, lr=1e-3), TIMADM])
def test_makes_the_objective_less_and_the_answers_better(task, make):
    of = task(episodes=60, ways=5, shots=1, queries=10, noise=1.2)
    plain, rule = SimpleShot("L2N", scale=7.5)(*of.parts()), make()
    logits = rule(*of.parts())
    right = [(said.argmax(dim=-1) == of.query_target).float().mean() for said in (plain, logits)]
    assert right[1] > right[0] + 0.03
    before, after = (said.softmax(dim=-1) for said in (plain, logits))
    assert entropy(after).mean() < entropy(before).mean()
    assert entropy(after.mean(dim=1)).mean() > entropy(before.mean(dim=1)).mean()


def test_adm_equals_the_papers_update_item_by_item(task):
    of = task(episodes=1)
    support, query = (normalize(x[0], dim=1) for x in (of.support, of.query))
    labels = torch.nn.functional.one_hot(of.target[0]).float()
    weight, alpha, scale = 0.3, 0.2, 5.0
    ways = prototypes(support[None], labels[None])[0]
    for _ in range(3):
        given = [(-scale * torch.cdist(x, ways).square()).softmax(dim=1) for x in (support, query)]
        sharp = given[1] ** (1 + alpha)
        wanted = sharp / sharp.sum(dim=0).sqrt()
        wanted = wanted / wanted.sum(dim=1, keepdim=True)
        moved = []
        for k in range(4):
            of_support = sum(labels[i, k] * support[i] + given[0][i, k] * (ways[k] - support[i]) for i in range(12))
            of_query = sum(wanted[i, k] * query[i] + given[1][i, k] * (ways[k] - query[i]) for i in range(20))
            share = weight / (1 + alpha)
            bottom = share * labels[:, k].sum() + 12 / 20 * wanted[:, k].sum()
            moved.append((share * of_support + 12 / 20 * of_query) / bottom)
        ways = torch.stack(moved)
    said = TIMADM(weight, alpha, steps=3, scale=scale)(of.support, of.target, of.query)[0]
    torch.testing.assert_close(said, -scale * torch.cdist(query, ways).square(), atol=1e-4, rtol=1e-4)


def test_uneven_queries_are_spread_all_the_same(task):
    of = task(episodes=30, ways=4, shots=5, queries=20, noise=1.0)
    query = of.query[:, of.query_target[0] == 0]  # all of one way
    shares = [
        rule(of.support, of.target, query).softmax(dim=-1).mean(dim=(0, 1))[0] for rule in (SimpleShot("L2N"), TIMADM())
    ]
    assert shares[0] > 0.6
    assert shares[1] < 0.4
