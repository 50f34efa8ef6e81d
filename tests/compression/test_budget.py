from itertools import product

import pytest
import torch

from lightning_transfer.compression import GPTQ, NM, Blocks, Budget, ExactOBS, Magnitude, Unstructured
from lightning_transfer.compression.budget import cheapest, usual_sparsities


def brute_force(costs, prices, limit):
    """Least cost of all choices within the limit."""
    choices = product(*(range(len(of)) for of in costs))
    within = [c for c in choices if sum(p[i] for p, i in zip(prices, c, strict=True)) <= limit]
    return min(sum(k[i] for k, i in zip(costs, c, strict=True)) for c in within)


def total(table, chosen):
    return sum(of[i] for of, i in zip(table, chosen, strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_is_as_good_as_the_best_of_all_choices(seed):
    torch.manual_seed(seed)
    costs = [torch.rand(n).tolist() for n in (4, 1, 5, 3, 4)]
    prices = [torch.randint(0, 50, (len(of),)).tolist() for of in costs]
    least, most = sum(map(min, prices)), sum(map(max, prices))
    for limit in {least, (2 * least + most) // 3, (least + most) // 2, most}:
        chosen = cheapest(costs, prices, limit, 10_000)
        assert total(prices, chosen) <= limit
        assert total(costs, chosen) == pytest.approx(brute_force(costs, prices, limit), rel=1e-12)


def test_more_sums_than_buckets_cost_little_and_never_exceed_the_budget():
    torch.manual_seed(0)
    costs = [torch.rand(12).sort().values.tolist() for _ in range(9)]
    prices = [torch.randint(1, 10**6, (12,)).sort(descending=True).values.tolist() for _ in range(9)]
    limit = sum(map(sum, prices)) // 20
    exact = total(costs, cheapest(costs, prices, limit, 10**7))
    for buckets in (10_000, 200):
        chosen = cheapest(costs, prices, limit, buckets)
        assert total(prices, chosen) <= limit
        assert total(costs, chosen) <= exact * (1 + 20 / buckets)
        assert total(costs, chosen) >= exact


def test_with_fine_levels_less_than_a_bucket_is_left_over():
    prices = [list(range(1000, -1, -1)) for _ in range(3)]
    costs = [[(k / 1000) ** 2 * weight for k in range(1001)] for weight in (1, 2, 5)]
    chosen = cheapest(costs, prices, 1234, 1234)
    assert 0 <= 1234 - total(prices, chosen) <= 1
    kept = [1000 - k for k in chosen]
    assert kept == sorted(kept)  # whose loss weighs more keeps more


def test_layers_that_are_alike_get_the_same_level():
    costs, prices = [[0.0, 1.0, 4.0, 9.0]] * 5, [[30, 20, 10, 0]] * 5
    assert cheapest(costs, prices, 100, 10_000) == [1] * 5


def test_of_equal_costs_the_cheaper_level_is_taken():
    assert cheapest([[0.0, 0.0]], [[9, 5]], 10, 10) == [1]


def test_levels_are_those_of_the_authors_and_the_one_that_is_named():
    usual = usual_sparsities()
    assert usual[:3] == pytest.approx([0, 0.1, 0.19])
    assert usual[-1] == pytest.approx(0.99, abs=2e-3)
    (pruned,) = Budget().levels([ExactOBS(Blocks(0.5, size=2), max_columns=7)])
    assert sorted(way.pattern.sparsity for way in pruned) == sorted([*usual, 0.5])
    assert {(way.pattern.size, way.max_columns) for way in pruned} == {(2, 7)}
    some = Budget(price="bits", sparsities=[0.9, 0.0], bits=[3, 4])
    pruned, rounded = some.levels([Magnitude(Unstructured(0.5)), GPTQ(4)])
    assert [way.pattern.sparsity for way in pruned] == [0.0, 0.9]
    assert [way.bits for way in rounded] == [4, 3]
    assert len(Budget(price="macs").levels([ExactOBS(Unstructured(0.5)), GPTQ(4)])[1]) == 1


def test_complaints():
    for make, said in {
        lambda: Budget(price="latency"): r"budget\.price='latency' must be one of weights, macs, bits",
        lambda: Budget(cost="loss"): r"budget\.cost='loss' must be one of error, divergence",
        lambda: Budget(buckets=0): r"budget\.buckets=0 must be at least 1",
        lambda: Budget(sparsities=[]): r"budget\.sparsities=\[\] leaves no level",
        lambda: Budget(sparsities=[1.0]).levels([Magnitude(Unstructured(0.5))]): "sparsity=1.0 is a share",
        lambda: Budget(price="bits", bits=[1, 2]).levels([GPTQ(4)]): "bits=1 must lie in 2 to 8",
        lambda: Budget().levels([GPTQ(4)]): "leaves layers nothing to choose",
        lambda: Budget().levels([ExactOBS(NM(2, 4))]): "leaves layers nothing to choose",
        lambda: Budget().levels([Magnitude(Unstructured(0.5, across="model"))]): "across=model and a budget are two",
        lambda: Budget().check([[1500, 1200]], 100): "is 100 weights, .* come to 1,200 at",
        lambda: ExactOBS(NM(2, 4)).at(0.3): "NM has one share of zeros",
    }.items():
        with pytest.raises(ValueError, match=said):
            make()
