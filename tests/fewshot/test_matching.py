import math

import pytest
import torch

from lightning_transfer.fewshot import MatchingRule
from lightning_transfer.fewshot.matching import summed_by_way


def test_by_hand():
    support = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    logits = MatchingRule(scale=1.0)(support, torch.tensor([0, 1, 1]), torch.tensor([[5.0, 0.0]]))
    torch.testing.assert_close(logits.exp(), torch.tensor([[math.e, 2.0]]) / (math.e + 2))


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_equals_a_slow_loop(task, scale):
    of = task()
    logits = MatchingRule(scale)(*of.parts())
    for e, (support, target, query) in enumerate(of.each()):
        for q in range(20):
            weight = (scale * torch.cosine_similarity(support, query[q], dim=1)).softmax(dim=0)
            share = torch.stack([weight[target == k].sum() for k in range(4)])
            torch.testing.assert_close(logits[e, q].exp(), share)


def test_shares_are_finite_and_right_however_small():
    scores, labels = torch.tensor([[[0.0, -500.0, -501.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]])
    expected = torch.tensor([0.0, -500 + math.log(1 + math.exp(-1))])
    torch.testing.assert_close(summed_by_way(scores, labels)[0, 0], expected)


def test_the_gradient_is_right(task):
    of = task(episodes=2, ways=2, shots=2, queries=1, width=3)
    support, query = of.support.double().requires_grad_(), of.query.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s, q: MatchingRule(3.0)(s, of.target, q), (support, query))
