import pytest
import torch
from torch.nn.functional import cross_entropy, linear

from lightning_transfer.fewshot import MatchingRule, NearestNeighbour, PrototypeRule
from lightning_transfer.fewshot.distances import squared_distances


def test_by_hand():
    support = torch.tensor([[0.0, 0.0], [0.0, 2.0], [4.0, 1.0]])
    logits = PrototypeRule(scale=0.5)(
        support, torch.tensor([0, 0, 1]), torch.tensor([[0.0, 1.0], [3.0, 1.0], [2.0, 2.0]])
    )
    torch.testing.assert_close(logits, -0.5 * torch.tensor([[0.0, 16.0], [9.0, 1.0], [5.0, 5.0]]))


def test_by_hand_for_cosines():
    support = torch.tensor([[3.0, 0.0], [0.0, 5.0]])
    logits = PrototypeRule("cosine", scale=10.0)(support, torch.tensor([0, 1]), torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(logits, torch.tensor([[6.0, 8.0]]))


@pytest.mark.parametrize("distance", ["squared_euclid", "cosine"])
def test_equals_a_slow_loop_over_uneven_ways(task, distance):
    of = task()
    kept = [0, 1, 2, 3, 4, 8, 7]
    support, target = of.support[:, kept], of.target[:, kept]
    logits = PrototypeRule(distance)(support, target, of.query)
    for e in range(3):
        for k in range(4):
            mean = torch.stack([x for x, t in zip(support[e], target[e], strict=True) if t == k]).mean(dim=0)
            for q in range(20):
                query = of.query[e, q]
                slow = torch.cosine_similarity(query, mean, dim=0)
                if distance == "squared_euclid":
                    slow = -(query - mean).square().sum()
                torch.testing.assert_close(logits[e, q, k], slow, atol=1e-4, rtol=1e-4)


def test_squared_distances_are_a_linear_head_up_to_what_all_ways_share(task):
    of = task(episodes=1)
    mean = torch.stack([of.support[0, of.target[0] == k].mean(dim=0) for k in range(4)])
    head = linear(of.query[0], 2 * mean, -mean.square().sum(dim=1))
    logits = PrototypeRule()(*(part[0] for part in of.parts()))
    torch.testing.assert_close(logits.log_softmax(dim=1), head.log_softmax(dim=1))


def test_of_one_shot_prototypes_matching_and_the_nearest_neighbour_agree(task):
    of = task(episodes=20, shots=1, noise=2.0)
    cosine = PrototypeRule("cosine", 10.0)(*of.parts())
    torch.testing.assert_close(MatchingRule()(*of.parts()), cosine.log_softmax(dim=-1))
    assert torch.equal(NearestNeighbour()(*of.parts()).argmax(dim=-1), cosine.argmax(dim=-1))
    euclid = PrototypeRule()(*of.parts()).argmax(dim=-1)
    assert torch.equal(NearestNeighbour(distance="squared_euclid")(*of.parts()).argmax(dim=-1), euclid)


def test_more_shots_come_to_the_mean_of_all():
    examples, query = torch.randn(400, 8) + 3 * torch.eye(8)[torch.arange(400) % 4], torch.randn(30, 8)
    target = torch.arange(400) % 4
    means = torch.stack([examples[target == k].mean(dim=0) for k in range(4)])
    torch.testing.assert_close(
        PrototypeRule()(examples, target, query), PrototypeRule()(means, torch.arange(4), query), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("rule", [PrototypeRule("cosine"), MatchingRule(), NearestNeighbour(3)])
def test_lengths_do_not_count_for_cosines(task, rule):
    of = task(shots=1)
    scaled = rule(7 * of.support, of.target, 0.1 * of.query)
    torch.testing.assert_close(scaled, rule(*of.parts()))


def test_what_all_embeddings_share_takes_no_digits():
    a, b = torch.randn(1, 5, 16), torch.randn(1, 4, 16)
    torch.testing.assert_close(squared_distances(a + 1000, b + 1000), squared_distances(a, b), atol=0.02, rtol=1e-2)


@pytest.mark.parametrize("make", [PrototypeRule, lambda **o: PrototypeRule("cosine", **o)])
def test_the_gradient_is_right_for_embeddings_and_scale(task, make):
    rule = make(learn_scale=True).double()
    of = task(episodes=2, ways=2, shots=2, queries=1, width=3)
    support, query = of.support.double().requires_grad_(), of.query.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s, q, _: rule(s, of.target, q), (support, query, rule.log_scale))


def test_the_gradient_is_finite_where_a_query_is_an_example():
    support = torch.eye(3, requires_grad=True)
    PrototypeRule()(support, torch.arange(3), support).sum().backward()
    assert support.grad.isfinite().all()


def test_the_scale_is_learned_only_if_wanted(task):
    of = task(noise=0.1)
    assert not [p for p in PrototypeRule().parameters() if p.requires_grad]
    rule = PrototypeRule("cosine", learn_scale=True)
    cross_entropy(rule(*of.parts()).flatten(0, 1), of.query_target.flatten()).backward()
    assert rule.log_scale.grad < 0  # clusters are told: surer answers cost less
