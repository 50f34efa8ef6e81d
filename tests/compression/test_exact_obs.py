import heapq

import pytest
import torch
from torch import nn

from lightning_transfer.compression import NM, Blocks, ExactOBS, Magnitude, SparseGPT, Unstructured
from lightning_transfer.compression.elimination import Elimination
from lightning_transfer.compression.exact_obs import order_of_rows, trace_rows
from lightning_transfer.compression.hessian import damped
from lightning_transfer.compression.refit import refit

ONE_GROUP = torch.zeros(6, dtype=torch.int64)


def traced(layer, pattern, rows=100, damping=0.0):
    return trace_rows(layer.weight[0], damped(layer.hessian, damping)[1], ONE_GROUP, pattern, rows)


def best_without(weight, hessian, zeros):
    """Loss of the least-squares fit with these zeros, by solving the normal equations of the rest."""
    kept = [i for i in range(len(weight)) if i not in zeros]
    change = -weight.clone()
    change[kept] = torch.linalg.solve(hessian[kept][:, kept], hessian[kept] @ weight) - weight[kept]
    return (0.5 * change @ hessian @ change).item()


def test_first_step_is_that_of_brute_force(linear):
    trace = traced(linear, Unstructured(0.5))
    for row in range(6):
        losses = [best_without(linear.weight[0, row], linear.hessian[0], [p]) for p in range(12)]
        assert trace.order[row, 0] == min(range(12), key=losses.__getitem__)
        assert trace.loss[row, 0].item() == pytest.approx(min(losses), rel=1e-9)


@pytest.mark.parametrize("pattern", [Unstructured(0.5), Blocks(0.5, size=3)], ids=["weights", "blocks"])
def test_each_step_is_the_cheapest_of_all_that_could_follow(linear, pattern):
    trace, size = traced(linear, pattern), pattern.size
    row, zeros, before = 2, [], 0.0
    for unit, loss in zip(trace.order[row].tolist(), trace.loss[row].tolist(), strict=True):
        ways = {}
        for candidate in set(range(12 // size)) - {z // size for z in zeros}:
            more = [candidate * size + j for j in range(size)]
            ways[candidate] = best_without(linear.weight[0, row], linear.hessian[0], zeros + more) - before
        assert unit == min(ways, key=ways.get)
        assert loss == pytest.approx(ways[unit], rel=1e-6)
        zeros += [unit * size + j for j in range(size)]
        before += loss


@pytest.mark.parametrize(
    "pattern", [Unstructured(0.5), Blocks(0.5, size=4), NM(2, 4)], ids=["weights", "blocks", "n_m"]
)
def test_losses_of_the_steps_sum_to_the_error(linear, pattern):
    pruned = ExactOBS(pattern, damping=0.0)(linear)
    trace = traced(linear, pattern)
    units = (pruned[0].unflatten(1, (-1, pattern.size)) == 0).all(2).sum(1)
    total = sum(trace.loss[r, :count].sum() for r, count in enumerate(units.tolist()))
    assert linear.error(pruned) == pytest.approx(total.item(), rel=1e-9)


def test_steps_lead_to_the_least_squares_fit(linear):
    matrix, inverse = damped(linear.hessian, 1e-3)
    elimination = Elimination(linear.weight[0], inverse, ONE_GROUP, 1, 12)
    order = [elimination.fix(elimination.cost(elimination.weight).argmin(1)).unit for _ in range(7)]
    zeros = torch.zeros(6, 12, dtype=torch.bool).scatter_(1, torch.stack(order, 1), True)
    stepped = torch.zeros(6, 12, dtype=torch.float64).scatter_(1, elimination.unit, elimination.weight.squeeze(-1))
    torch.testing.assert_close(stepped.masked_fill(zeros, 0), refit(linear.weight, zeros[None], matrix, inverse)[0])


def test_rows_of_different_counts_are_refitted_as_each_would_be_alone(linear):
    matrix, inverse = damped(linear.hessian, 1e-3)
    zeros = torch.arange(12).expand(1, 6, 12) < torch.tensor([0, 3, 12, 3, 7, 7])[:, None]
    fitted = refit(linear.weight, zeros, matrix, inverse)
    for row in range(6):
        alone = refit(linear.weight[:, row : row + 1], zeros[:, row : row + 1], matrix, inverse)
        torch.testing.assert_close(fitted[:, row], alone[:, 0], rtol=1e-10, atol=1e-12)
    assert torch.equal(fitted[0, 0], linear.weight[0, 0])
    assert not fitted[0, 2].any()


@pytest.mark.parametrize("count", [1, 5, 6, 7, 11, 12])
def test_a_refit_solves_the_normal_equations_however_many_are_left(linear, count):
    matrix, inverse = damped(linear.hessian, 1e-3)
    zeros = torch.rand(1, 6, 12).argsort(2) < count
    fitted = refit(linear.weight, zeros, matrix, inverse)
    assert torch.equal(fitted == 0, zeros)
    gradient = (fitted - linear.weight) @ matrix
    assert gradient.masked_fill(zeros, 0).abs().max() < 1e-9 * (linear.weight @ matrix).abs().max()


def test_columns_that_are_done_are_dropped_without_a_trace(linear, monkeypatch):
    dropping = traced(linear, Unstructured(0.5))
    monkeypatch.setattr("lightning_transfer.compression.elimination._COMPACT", 0.0)
    keeping = traced(linear, Unstructured(0.5))
    assert torch.equal(dropping.order, keeping.order)
    torch.testing.assert_close(dropping.loss, keeping.loss)


@pytest.mark.parametrize(
    "pattern", [Unstructured(0.6), Blocks(0.5, size=2), NM(2, 4)], ids=["weights", "blocks", "n_m"]
)
def test_does_not_depend_on_how_many_rows_are_pruned_at_once(linear, pattern):
    together, alone, four = (ExactOBS(pattern, rows=rows)(linear) for rows in (None, 1, 4))
    for other in (alone, four):
        assert torch.equal(together == 0, other == 0)
        torch.testing.assert_close(together, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [ExactOBS, SparseGPT, Magnitude])
@pytest.mark.parametrize("sparsity", [0.0, 0.37, 0.9])
def test_there_are_exactly_as_many_zeros_as_asked_for(linear, kind, sparsity):
    assert (kind(Unstructured(sparsity))(linear) == 0).sum() == round(sparsity * 72)


@pytest.mark.parametrize("kind", [ExactOBS, SparseGPT, Magnitude])
def test_n_of_m_are_kept_in_each_group_and_blocks_are_whole(linear, kind):
    pruned = kind(NM(1, 4))(linear)
    assert ((pruned.unflatten(2, (-1, 4)) != 0).sum(-1) == 1).all()
    blocks = (kind(Blocks(0.5, size=3))(linear).unflatten(2, (-1, 3)) == 0).sum(-1)
    assert set(blocks.unique().tolist()) == {0, 3}
    assert (blocks == 3).sum() == 12


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "pattern", [Unstructured(0.5), Unstructured(0.8), NM(2, 4), Blocks(0.5, 4)], ids=["half", "most", "n_m", "blocks"]
)
def test_is_never_worse_than_magnitude(gather, seed, pattern):
    torch.manual_seed(seed)
    layer = nn.Conv2d(8, 5, 3).double()
    found = gather(layer, torch.randn(20, 8, 6, 6, dtype=torch.float64).cumsum(1).relu())
    plain, fitted, exact = (
        found.error(way(found)) for way in (Magnitude(pattern), Magnitude(pattern, refit=True), ExactOBS(pattern))
    )
    assert exact < plain
    assert fitted < plain


def test_depthwise_equals_a_loop_over_channels(gather):
    layer, images = nn.Conv2d(4, 4, 3, groups=4).double(), torch.rand(8, 4, 7, 7, dtype=torch.float64)
    pattern, found = Unstructured(0.5), gather(layer, images)
    matrix, inverse = damped(found.hessian, 1e-4)
    whole = trace_rows(found.weight[:, 0], inverse, torch.arange(4), pattern, 100)
    zeros = torch.zeros(4, 1, 9, dtype=torch.bool)
    for c, length in enumerate(lengths(whole.loss, 18)):
        one = nn.Conv2d(1, 1, 3).double()
        one.weight.data = layer.weight[c : c + 1].data
        own = gather(one, images[:, c : c + 1])
        trace = trace_rows(own.weight[0], damped(own.hessian, 1e-4)[1], ONE_GROUP[:1], pattern, 100)
        assert torch.equal(trace.order[0], whole.order[c])
        torch.testing.assert_close(trace.loss[0], whole.loss[c])
        zeros[c, 0, trace.order[0, :length]] = True
    torch.testing.assert_close(ExactOBS(pattern)(found), refit(found.weight, zeros, matrix, inverse))


def test_grouped_convolutions_are_a_loop_over_groups(gather):
    layer, images = nn.Conv2d(8, 6, 3, groups=2).double(), torch.rand(8, 8, 7, 7, dtype=torch.float64)
    whole = ExactOBS(NM(2, 4))(gather(layer, images))
    for g in range(2):
        one = nn.Conv2d(4, 3, 3).double()
        one.weight.data = layer.weight[3 * g : 3 * g + 3].data
        torch.testing.assert_close(whole[g : g + 1], ExactOBS(NM(2, 4))(gather(one, images[:, 4 * g : 4 * g + 4])))


def test_weights_of_dead_inputs_go_first_and_cost_nothing(gather):
    layer, inputs = nn.Linear(8, 3).double(), torch.rand(50, 8, dtype=torch.float64)
    inputs[:, [1, 6]] = 0
    found = gather(layer, inputs)
    pruned = ExactOBS(Unstructured(0.25))(found)
    assert (pruned[0] == 0).sum(0).tolist() == [0, 3, 0, 0, 0, 0, 3, 0]
    assert found.error(pruned) == pytest.approx(0, abs=1e-25)


def test_zeros_stay_zeros_and_count(linear):
    once = ExactOBS(Unstructured(0.4))(linear)
    for kind in (ExactOBS, SparseGPT, Magnitude):
        twice = kind(Unstructured(0.7))(linear._replace(weight=once))
        assert (twice[once == 0] == 0).all()
        if kind is not SparseGPT:  # whose shares are settled part by part
            assert (twice == 0).sum() == round(0.7 * 72)


def test_wide_layers_go_by_columns(linear):
    narrow = ExactOBS(Unstructured(0.5), max_columns=11)(linear)
    assert torch.equal(narrow, SparseGPT(Unstructured(0.5), damping=1e-4)(linear))


def lengths(loss, count):
    return order_of_rows(loss)[:count].bincount(minlength=len(loss)).tolist()


def test_the_row_goes_on_whose_next_step_is_the_cheapest():
    assert lengths(torch.tensor([[5.0, 1.0], [2.0, 4.0]]), 2) == [0, 2]
    assert lengths(torch.tensor([[5.0, 1.0], [2.0, 6.0]]), 3) == [2, 1]
    assert lengths(torch.tensor([[1.0, 1.0], [2.0, 2.0]]), 4) == [2, 2]
    for loss in (torch.rand(7, 30), torch.randint(5, (7, 30)).float()):
        table, heap, taken = loss.tolist(), [(row[0], r, 0) for r, row in enumerate(loss.tolist())], []
        heapq.heapify(heap)
        while heap:
            _, row, step = heapq.heappop(heap)
            taken.append(row)
            if step + 1 < 30:
                heapq.heappush(heap, (table[row][step + 1], row, step + 1))
        assert order_of_rows(loss).tolist() == taken


def test_a_layer_of_one_place_in_the_whole_model_loses_more():
    weights = {"small": 0.1 * torch.ones(1, 2, 4), "large": torch.ones(1, 2, 4)}
    assert Unstructured(0.5, across="model").counts(weights) == {"small": 8, "large": 0}
    assert Unstructured(0.5).counts(weights) == {"small": 4, "large": 4}
    assert Blocks(0.5, size=4, across="model").counts(weights) == {"small": 2, "large": 0}


def test_complaints(linear):
    for make, said in {
        lambda: Unstructured(1.0): r"sparsity=1.0 .* lies in \[0, 1\)",
        lambda: Unstructured(0.5, across="net"): "across='net' must be layer or model",
        lambda: Blocks(0.5, size=1): "size=1 of Blocks must be at least 2",
        lambda: NM(4, 4): "1 <= n < m",
        lambda: ExactOBS(NM(), damping=-1): "damping=-1 must not be negative",
        lambda: ExactOBS(NM(), rows=0): "rows=0 must be at least 1",
        lambda: ExactOBS(NM(2, 8))(linear): "ExactOBS cannot compress layer: 12 input channels are no multiple of m=8",
        lambda: Magnitude(Blocks(0.5, 5))(linear): "Magnitude cannot compress layer: 12 .* size=5",
    }.items():
        with pytest.raises(ValueError, match=said):
            make()
