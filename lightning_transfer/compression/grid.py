"""The numbers that a row's weights are rounded to."""

from typing import NamedTuple

import torch
from torch import Tensor

_SHRINKAGES, _POWER = 80, 2.4  # the authors' search: ranges of 100, 99, ..., 21 %, and the error that is least


class Grid(NamedTuple):
    """Evenly spaced numbers for each row, 0 among them.

    Shape:
        scale (G, R, 1), zero (G, R, 1): distance of two numbers, and how many lie below 0.

    Attributes:
        top: number of the last one, from 0.
    """

    scale: Tensor
    zero: Tensor
    top: int

    def nearest(self, weight: Tensor) -> Tensor:
        """Round weights (G, R, n) to their row's grid; those beyond its ends to the ends."""
        numbers = ((weight / self.scale).round() + self.zero).clamp(0, self.top)
        return self.scale * (numbers - self.zero)

    def rows(self, chosen: slice) -> "Grid":
        """The grids of some rows, which all stand in one group then."""
        return Grid(self.scale.flatten(0, 1)[chosen], self.zero.flatten(0, 1)[chosen], self.top)


def fit_grid(weight: Tensor, bits: int, symmetric: bool) -> Grid:
    """Choose a grid of 2^bits numbers for each row: of the ranges that are tried, the one whose rounding errors are least.

    Args:
        weight: (G, R, d).
        bits: of a weight.
        symmetric: whether the range has its middle at 0.

    Reference:
        Frantar, Alistarh, "Optimal Brain Compression", NeurIPS 2022, section 6 and the published code.
    """
    top = 2**bits - 1
    low = weight.amin(2, keepdim=True).clamp(max=0)
    high = weight.amax(2, keepdim=True).clamp(min=0)
    if symmetric:
        high = torch.maximum(-low, high)
        low = -high
    empty = high == low
    low, high = low - empty.to(low.dtype), high + empty.to(low.dtype)
    best = _grid(low, high, top, symmetric)
    least = _error(weight, best)
    for step in range(1, _SHRINKAGES):
        grid = _grid(low * (1 - step / 100), high * (1 - step / 100), top, symmetric)
        error = _error(weight, grid)
        better = error < least
        least = torch.where(better, error, least)
        best = Grid(torch.where(better, grid.scale, best.scale), torch.where(better, grid.zero, best.zero), top)
    return best


def _grid(low: Tensor, high: Tensor, top: int, symmetric: bool) -> Grid:
    scale = (high - low) / top
    zero = torch.full_like(low, (top + 1) / 2) if symmetric else (-low / scale).round()
    return Grid(scale, zero, top)


def _error(weight: Tensor, grid: Grid) -> Tensor:
    return (grid.nearest(weight) - weight).abs().pow(_POWER).sum(2, keepdim=True)
