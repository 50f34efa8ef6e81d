import pytest
import torch
from torch import nn

from lightning_transfer.compression import GPTQ, NM, OBQ, ExactOBS, RoundToNearest, Unstructured, in_turn
from lightning_transfer.compression.grid import Grid, fit_grid

KINDS = [RoundToNearest, GPTQ, OBQ]


def test_a_grid_holds_zero_and_as_many_numbers_as_bits_allow():
    weight = torch.randn(2, 3, 50).double()
    for symmetric in (True, False):
        grid = fit_grid(weight, 3, symmetric)
        rounded = grid.nearest(torch.linspace(-9, 9, 2001).double().expand(2, 3, -1))
        for row in rounded.flatten(0, 1):
            assert len(row.unique()) == 8
            assert 0 in row


def test_numbers_on_a_grid_stay_as_they_are():
    grid = Grid(torch.tensor([[[0.5]]]), torch.tensor([[[2.0]]]), 3)
    weight = torch.tensor([[[-1.0, -0.5, 0.0, 0.5, 0.1, 7.0, -7.0]]])
    assert grid.nearest(weight).tolist() == [[[-1.0, -0.5, 0.0, 0.5, 0.0, 0.5, -1.0]]]


def test_the_range_that_is_searched_for_is_no_worse_than_the_whole():
    weight = torch.randn(1, 4, 100).double()
    weight[:, :, 0] = 9  # outliers
    high = weight.abs().amax(2, keepdim=True)
    whole = Grid(2 * high / 7, torch.full_like(high, 4), 7)
    errors = [(grid.nearest(weight) - weight).abs().pow(2.4).sum(2) for grid in (fit_grid(weight, 3, True), whole)]
    assert (errors[0] <= errors[1]).all()
    assert fit_grid(torch.zeros(1, 1, 4).double(), 3, True).nearest(torch.zeros(1, 1, 4)).tolist() == [[[0] * 4]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [2, 4])
def test_each_row_has_as_many_numbers_as_bits_allow(linear, kind, bits):
    rounded = kind(bits)(linear)
    numbers = fit_grid(linear.weight, bits, True).nearest(rounded)
    torch.testing.assert_close(rounded, numbers)
    assert all(len(row.unique()) <= 2**bits for row in rounded[0])


@pytest.mark.parametrize("kind", [GPTQ, OBQ])
def test_inputs_that_resemble_none_other_are_rounded_to_the_nearest(linear, kind):
    alone = linear._replace(hessian=torch.rand(12).double().diag().unsqueeze(0))
    torch.testing.assert_close(kind(3)(alone), RoundToNearest(3)(alone))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_errors_that_others_make_up_for_are_smaller(gather, seed, bits):
    torch.manual_seed(seed)
    layer = nn.Conv2d(8, 5, 3).double()
    found = gather(layer, torch.randn(20, 8, 6, 6, dtype=torch.float64).cumsum(1).relu())
    nearest, gptq, obq = (found.error(kind(bits)(found)) for kind in KINDS)
    assert gptq < 0.7 * nearest
    assert obq < 0.7 * nearest


def test_first_weight_that_is_rounded_is_the_cheapest_of_all(linear):
    from lightning_transfer.compression.hessian import damped

    grid, inverse = fit_grid(linear.weight, 4, True), damped(linear.hessian, 0.0)[1][0]
    change = (grid.nearest(linear.weight) - linear.weight)[0]
    losses = 0.5 * change.square() / inverse.diagonal()
    first = losses.argmin(1)
    rounded = OBQ(4, damping=0.0)(linear)[0]
    for row, place in enumerate(first.tolist()):
        assert rounded[row, place] == pytest.approx(grid.nearest(linear.weight)[0, row, place].item())


@pytest.mark.parametrize("rows", [1, 4])
def test_does_not_depend_on_how_many_rows_are_rounded_at_once(linear, rows):
    torch.testing.assert_close(OBQ(3)(linear), OBQ(3, rows=rows)(linear), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [GPTQ, OBQ])
def test_depthwise_equals_a_loop_over_channels(gather, kind):
    layer, images = nn.Conv2d(4, 4, 3, groups=4).double(), torch.rand(8, 4, 7, 7, dtype=torch.float64)
    whole = kind(3)(gather(layer, images))
    for c in range(4):
        one = nn.Conv2d(1, 1, 3).double()
        one.weight.data = layer.weight[c : c + 1].data
        torch.testing.assert_close(whole[c : c + 1], kind(3)(gather(one, images[:, c : c + 1])))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pattern", [Unstructured(0.5), NM(2, 4)], ids=["half", "n_m"])
def test_zeros_stay_zeros(linear, kind, pattern):
    steps = [ExactOBS(pattern), kind(4)]
    plans = [step.plan({"layer": linear.weight})["layer"] for step in steps]
    both = in_turn(steps, linear, plans)
    assert (both[ExactOBS(pattern)(linear) == 0] == 0).all()
    assert linear.error(both) > linear.error(ExactOBS(pattern)(linear))
    grid = fit_grid(ExactOBS(pattern)(linear), 4, True)  # that of the pruned weights
    torch.testing.assert_close(both, grid.nearest(both))
    assert all(len(row.unique()) <= 16 for row in both[0])


def test_complaints():
    for kind in KINDS:
        with pytest.raises(ValueError, match="bits=9 must lie in 2 to 8"):
            kind(9)
    with pytest.raises(ValueError, match="rows=0"):
        OBQ(rows=0)
    with pytest.raises(ValueError, match="damping=-1"):
        GPTQ(damping=-1)
