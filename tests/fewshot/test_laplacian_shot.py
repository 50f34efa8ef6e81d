import pytest
import torch
from torch.nn.functional import normalize

from lightning_transfer.fewshot import LaplacianShot, PrototypeRule
from lightning_transfer.fewshot.laplacian_shot import affinity


def test_neighbours_by_hand():
    query = torch.tensor([[[0.0], [1.0], [3.0], [3.5]]])
    expected = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    torch.testing.assert_close(affinity(query, 1)[0], torch.tensor(expected).float())
    assert torch.equal(affinity(query, 9)[0], 1 - torch.eye(4))
    assert torch.equal(affinity(query[:, :1], 2), torch.zeros(1, 1, 1))


def test_a_copy_is_a_neighbour_and_nobody_their_own():
    near = affinity(torch.zeros(1, 3, 2), 2)[0]
    assert torch.equal(near, 1 - torch.eye(3))


@pytest.mark.parametrize("strength", [0.3, 2.0])
def test_equals_a_slow_loop(task, strength):
    of = task()
    rule = LaplacianShot(strength, neighbours=3, steps=7, rectify=False)
    probability = rule(*of.parts()).softmax(dim=-1)
    for e in range(3):
        support, query = normalize(of.support[e], dim=1), normalize(of.query[e], dim=1)
        ways = torch.stack([support[of.target[e] == k].mean(dim=0) for k in range(4)])
        cost = torch.cdist(query, ways).square()
        among = torch.cdist(query, query)
        near = [sorted(set(range(20)) - {q}, key=lambda j, q=q: among[q, j])[:3] for q in range(20)]
        answer = (-cost).softmax(dim=1)
        for _ in range(7):
            answer = torch.stack(
                [(-cost[q] + strength * sum(answer[j] for j in near[q])).softmax(dim=0) for q in range(20)]
            )
        torch.testing.assert_close(probability[e], answer, atol=1e-5, rtol=1e-4)


def test_without_strength_it_is_the_nearest_mean(task):
    of = task()
    plain = PrototypeRule()(normalize(of.support, dim=-1), of.target, normalize(of.query, dim=-1))
    torch.testing.assert_close(LaplacianShot(0, rectify=False)(*of.parts()), plain)


def test_a_query_follows_its_neighbours():
    support, target = torch.tensor([[0.0], [10.0]]), torch.tensor([0, 1])
    query = torch.tensor(
        [[5.1], [5.3], [4.9], [9.0]]
    )  # the third is nearer to the first way, its neighbours are of the other
    alone, together = (LaplacianShot(s, 2, rectify=False, transform="UN")(support, target, query) for s in (0.0, 5.0))
    assert alone.argmax(dim=1).tolist() == [1, 1, 0, 1]
    assert together.argmax(dim=1).tolist() == [1, 1, 1, 1]
