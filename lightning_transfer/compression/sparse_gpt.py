"""Pruning column after column in one order for all rows, for layers that are too wide for an order of each row's own."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lightning_transfer.compression.base import Pruning
from lightning_transfer.compression.hessian import damped, dead_inputs
from lightning_transfer.compression.patterns import NM, Pattern
from lightning_transfer.compression.rows import LayerRows

_COLUMNS = 128  # chosen from at once, the authors' number


class SparseGPT(Pruning):
    """Go through the inputs in their order: choose zeros among 128 of them, and let the later ones make up for each.

    The order is one for all rows, so that a layer takes O(d³ + R d²). Only the choice of zeros is kept; the weights are those of a
    least-squares fit, which is better than what the authors stop at.

    Args:
        pattern: how many, and where they may be. `Unstructured` has its share in each 128 inputs.
        damping: share of the mean squared input that is added to each squared input, ≥ 0.

    Raises:
        ValueError: for values out of range, and for layers that the pattern does not divide.

    Reference:
        Frantar, Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", ICML 2023, algorithm 1.
    """

    def __init__(self, pattern: Pattern, damping: float = 1e-2) -> None:
        super().__init__(pattern, True, damping)

    def zeros(self, layer: LayerRows, counts: Sequence[int]) -> Iterator[Tensor]:
        return column_order_zeros(layer, self.pattern, counts, self.damping)


def column_order_zeros(layer: LayerRows, pattern: Pattern, counts: Sequence[int], damping: float) -> Iterator[Tensor]:
    """For each count choose so many units to make zero in SparseGPT's order; a mask (G, R, d)."""
    living = layer.weight.masked_fill(dead_inputs(layer.hessian).unsqueeze(1), 0)
    upper = torch.linalg.cholesky(damped(layer.hessian, damping)[1]).transpose(1, 2)  # U with H⁻¹ = UᵀU
    for count in counts:
        yield _zeros(living.clone(), upper, pattern, count)


def _zeros(weight: Tensor, upper: Tensor, pattern: Pattern, count: int) -> Tensor:
    zeros = torch.zeros_like(weight, dtype=torch.bool)
    columns = weight.shape[2]
    multiple = pattern.m if isinstance(pattern, NM) else pattern.size
    width = max(multiple, _COLUMNS // multiple * multiple)
    taken = 0
    for start in range(0, columns, width):
        stop = min(start + width, columns)
        share = round(count * stop / columns)
        part = slice(start, stop)
        zeros[:, :, part] = _choose(weight[:, :, part], upper[:, part, part], pattern, share - taken)
        taken = share
        _make_up(weight, upper, zeros, start, stop)
    return zeros


def _choose(weight: Tensor, upper: Tensor, pattern: Pattern, count: int) -> Tensor:
    scores = weight.square() / upper.diagonal(dim1=1, dim2=2).square().unsqueeze(1)
    if pattern.size > 1:
        scores = torch.unflatten(scores, 2, (-1, pattern.size)).sum(-1)
    return pattern.lowest(scores, count).repeat_interleave(pattern.size, dim=2)


def _make_up(weight: Tensor, upper: Tensor, zeros: Tensor, start: int, stop: int) -> None:
    """Set the zeros of some columns, one column after the other, and let the columns behind them make up for it."""
    part, diagonal = weight[:, :, start:stop], upper[:, start:stop, start:stop]
    errors = torch.zeros_like(part)
    for i in range(stop - start):
        errors[:, :, i] = part[:, :, i] * zeros[:, :, start + i] / diagonal[:, i, i, None]
        part[:, :, i:] -= errors[:, :, i, None] * diagonal[:, i, None, i:]
        part[:, :, i].masked_fill_(zeros[:, :, start + i], 0)
    weight[:, :, stop:] -= errors @ upper[:, start:stop, stop:]  # at once, for none of these is chosen from yet
