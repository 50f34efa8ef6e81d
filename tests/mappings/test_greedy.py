import pytest
import torch

from lightning_transfer.mappings.greedy import greedy, round_robin


def slow(scores, m):
    """Take the largest entry, bind, strike out; ties by a scan over sources, then classes."""
    scores = scores.double().clone()
    bound = [[] for _ in range(scores.shape[1])]
    while min(map(len, bound)) < m:
        best = max(
            ((s, k) for s in range(scores.shape[0]) for k in range(scores.shape[1])),
            key=lambda pair: (scores[pair], -pair[0], -pair[1]),
        )
        bound[best[1]].append(best[0])
        scores[best[0]] = -torch.inf
        if len(bound[best[1]]) == m:
            scores[:, best[1]] = -torch.inf
    return bound


def test_on_a_table_by_hand():
    # 9 binds source 1 to class 0; 8 and 7 lie in its row and column; 5 binds source 3 to class 2; 2 binds source 0 to class 1
    table = torch.tensor([[7, 2, 3], [9, 8, 1], [0, 1, 4], [6, 0, 5]])
    assert greedy(table).tolist() == [[1], [0], [3]]


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("high", [1, 2, 4, 1000])  # all entries alike, many ties, hardly any
def test_equals_the_slow_way_whatever_the_ties(m, high):
    for seed in range(10):
        table = torch.randint(high, (9, 4), generator=torch.Generator().manual_seed(seed))
        found = greedy(table, m)
        assert found.tolist() == slow(table, m)
        assert len(found.unique()) == 4 * m


def test_equals_the_slow_way_for_scores_below_zero():
    scores = torch.randn(7, 3)
    assert greedy(scores - 10).tolist() == slow(scores, 1)


def test_classes_take_turns():
    # class 0 takes source 1 though it is worth more to class 1, which takes 2; in the second round 0, then what is left
    scores = torch.tensor([[3, 1], [4, 9], [1, 2], [0, 0]])
    assert round_robin(scores, 2).tolist() == [[1, 0], [2, 3]]
    assert greedy(scores, 2).tolist() == [[0, 3], [1, 2]]
