"""Equality with easyfsl on the same embeddings where it is right, and where it is not, what it does and what ours does."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize
from torch.optim import Adam

from lightning_transfer.fewshot import (
    BDCSPN,
    PTMAP,
    TIM,
    BaselinePlusPlus,
    LaplacianShot,
    MatchingRule,
    PrototypeRule,
    SimpleShot,
)
from lightning_transfer.fewshot.bd_cspn import rectified
from lightning_transfer.fewshot.distances import prototypes

methods = pytest.importorskip("easyfsl.methods")


def theirs(make, of):
    """What a new model of theirs answers to each episode."""
    said = []
    for support, target, query in of.each():
        model = make()
        model.process_support_set(support, target)
        said.append(model(query).detach())
    return torch.stack(said)


@pytest.fixture
def of(task):
    return task(episodes=4, ways=5, shots=5, queries=6, width=24, noise=1.5)


@pytest.fixture
def centred(of):
    """Support and queries of one mean, so that they need not be moved."""
    of.support = of.support - of.support.mean(dim=1, keepdim=True)
    of.query = of.query - of.query.mean(dim=1, keepdim=True)
    return of


def test_prototypes(of):
    expected = theirs(methods.PrototypicalNetworks, of)
    torch.testing.assert_close(PrototypeRule()(*of.parts()), -expected.square(), atol=1e-3, rtol=1e-4)
    assert torch.equal(PrototypeRule()(*of.parts()).argmax(dim=-1), expected.argmax(dim=-1))


def test_cosines_of_prototypes(of):
    torch.testing.assert_close(PrototypeRule("cosine")(*of.parts()), theirs(methods.SimpleShot, of))


def test_simple_shot_is_their_prototypes_of_centred_and_normalised_embeddings(of):
    base = torch.randn(60, 24) + 1
    rule = SimpleShot(scale=1.0)
    rule.prepare(base, [])
    make = partial(methods.PrototypicalNetworks, feature_centering=base.mean(dim=0), feature_normalization=2.0)
    torch.testing.assert_close(rule(*of.parts()), -theirs(make, of).square(), atol=1e-5, rtol=1e-4)


class Silent(nn.Module):
    """In the place of an LSTM: adds nothing to what it is given."""

    def forward(self, features, state=None):
        if state is None:
            return (features.new_zeros(1, features.shape[1], 2 * features.shape[2]),)
        return torch.zeros_like(state[0]), state[1]


def test_matching_without_context(of):
    scale = 4.0
    of.query = scale * normalize(of.query, dim=-1)  # theirs leaves queries as long as they are
    make = partial(methods.MatchingNetworks, feature_dimension=24, support_encoder=Silent(), query_encoder=Silent())
    torch.testing.assert_close(MatchingRule(scale)(*of.parts()), theirs(make, of), atol=1e-4, rtol=1e-4)


def test_bd_cspn(centred):
    expected = theirs(methods.BDCSPN, centred)
    torch.testing.assert_close(BDCSPN(1.0, "UN")(*centred.parts()), expected, atol=1e-5, rtol=1e-4)


def test_prototypes_that_bd_cspn_rectifies(of):
    labels = nn.functional.one_hot(of.target).float()
    ways, _ = rectified(of.support, labels, of.query, 1.0)
    for e, (support, target, query) in enumerate(of.each()):
        model = methods.BDCSPN()
        model.process_support_set(support, target)
        model.rectify_prototypes(query)
        torch.testing.assert_close(ways[e], model.prototypes, atol=1e-5, rtol=1e-4)


def test_laplacian_shot(centred):
    centred.support, centred.query = centred.support / 5, centred.query / 5
    rule = LaplacianShot(scale=1.0, transform="UN")
    expected = theirs(methods.LaplacianShot, centred)
    torch.testing.assert_close(rule(*centred.parts()).softmax(dim=-1), expected, atol=1e-4, rtol=1e-3)


def test_tim(of):
    rule = TIM(1.0, 0.1, steps=50, lr=1e-2, scale=10.0, distance="cosine", transform="UN")
    expected = 10 * theirs(partial(methods.TIM, fine_tuning_lr=1e-2), of)
    torch.testing.assert_close(rule(*of.parts()), expected, atol=1e-3, rtol=1e-3)


def test_fine_tuning(of):
    length = prototypes(of.support, nn.functional.one_hot(of.target).float()).norm(dim=-1)
    of.support = of.support / length.gather(1, of.target).unsqueeze(
        -1
    )  # theirs begins at prototypes as long as they are
    rule = BaselinePlusPlus(steps=100, optimizer=partial(Adam, lr=1e-2))
    expected = theirs(partial(methods.Finetune, fine_tuning_steps=100, fine_tuning_lr=1e-2, temperature=10.0), of)
    torch.testing.assert_close(rule(*of.parts()), 10 * expected, atol=1e-3, rtol=1e-3)


def test_pt_map(of):
    def summed(x):  # to a length of 1 after the power, which theirs leaves out
        return x.exp() / x.exp().sum(dim=-1, keepdim=True) - 1e-6

    of.support, of.query = summed(of.support), summed(of.query)
    expected = theirs(methods.PTMAP, of)
    torch.testing.assert_close(PTMAP()(*of.parts()).exp(), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        (BDCSPN(), methods.BDCSPN),
        (TIM(steps=50, lr=1e-2), partial(methods.TIM, fine_tuning_lr=1e-2)),
        (BaselinePlusPlus(), partial(methods.Finetune, fine_tuning_lr=1e-2)),
        (PTMAP(), methods.PTMAP),
        (LaplacianShot(), methods.LaplacianShot),
    ],
)
def test_a_second_look_is_a_first_one_where_theirs_goes_on_from_it(of, rule, make):
    support, target, query = next(of.each())
    model = make()
    model.process_support_set(support, target)
    first, second = (model(query).detach().clone() for _ in range(2))
    assert (second - first).abs().max() > 1e-3
    assert torch.equal(rule(support, target, query), rule(support, target, query))
