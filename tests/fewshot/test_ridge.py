import pytest
import torch
from sklearn.linear_model import Ridge
from torch.nn.functional import cross_entropy, one_hot

from lightning_transfer.fewshot import RidgeRule
from lightning_transfer.fewshot.ridge import ridge


def test_by_hand():
    support, labels = torch.tensor([[[1.0], [3.0]]]), torch.eye(2).unsqueeze(0)
    said = ridge(support, labels, torch.tensor([[[2.0]]]), torch.tensor(5.0))
    torch.testing.assert_close(said, torch.tensor([[[0.1, 0.3]]]))  # w = (1, 3) / 2 / (10 / 2 + 5)


@pytest.mark.parametrize("width", [5, 11, 12, 40])
def test_both_systems_of_equations_are_one_regression(task, width):
    of = task(width=width)
    labels = one_hot(of.target).double()
    support, query = of.support.double(), of.query.double()
    said = ridge(support, labels, query, torch.tensor(0.3, dtype=torch.double))
    for e in range(3):
        model = Ridge(alpha=0.3 * 12, fit_intercept=False).fit(support[e].numpy(), labels[e].numpy())
        torch.testing.assert_close(said[e], torch.from_numpy(model.predict(query[e].numpy())))


def test_the_intercept_is_a_column_of_ones(task):
    of = task(episodes=1)
    rule = RidgeRule(strength=0.5, scale=2.0)
    ones = [torch.cat([part, torch.ones(1, part.shape[1], 1)], dim=2) for part in (of.support, of.query)]
    expected = 2 * ridge(ones[0], one_hot(of.target).float(), ones[1], torch.tensor(0.5))
    torch.testing.assert_close(rule(*of.parts()), expected)


@pytest.mark.parametrize("width", [3, 20])
def test_the_gradient_is_right_for_embeddings_strength_and_scale(task, width):
    rule = RidgeRule(0.7, 3.0).double()
    of = task(episodes=2, ways=2, shots=3, queries=1, width=width)
    support, query = of.support.double().requires_grad_(), of.query.double().requires_grad_()
    inputs = (support, query, rule.log_strength, rule.scale)
    assert torch.autograd.gradcheck(lambda s, q, *_: rule(s, of.target, q), inputs)


def test_training_lowers_the_loss_and_keeps_the_strength_positive(task):
    rule, of = RidgeRule(strength=100.0), task(noise=0.5)
    optimizer = torch.optim.Adam(rule.parameters(), lr=0.1)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(cross_entropy(rule(*of.parts()).flatten(0, 1), of.query_target.flatten()))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    assert rule.log_strength.exp() > 0
    assert not list(filter(lambda p: p.requires_grad, RidgeRule(learned=False).parameters()))
