"""Optimal brain surgeon, layer by layer and row by row, exactly."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_transfer.compression.base import Pruning
from lightning_transfer.compression.elimination import Elimination
from lightning_transfer.compression.hessian import damped, dead_inputs
from lightning_transfer.compression.patterns import NM, Pattern
from lightning_transfer.compression.refit import rows_at_once
from lightning_transfer.compression.rows import LayerRows
from lightning_transfer.compression.sparse_gpt import column_order_zeros


class Trace(NamedTuple):
    """In which order units of each row become zero, and by how much each step raises the squared output error.

    Shape:
        order (R, K) int64, loss (R, K)
    """

    order: Tensor
    loss: Tensor


class ExactOBS(Pruning):
    """Make one weight of a row zero after the other, always the one whose loss the others can make up for best, and let them.

    How many of each row is settled over the whole layer: the row whose next step costs least goes on. The weights that are left are
    those of a least-squares fit, which is where the steps lead.

    Args:
        pattern: how many, and where they may be.
        damping: share of the mean squared input that is added to each squared input, ≥ 0.
        rows: how many are pruned at once, which changes nothing but memory and speed; as many as fit into half a gigabyte if not given.
        max_columns: layers with more inputs than this are pruned in SparseGPT's order, which takes O(d³) a layer, not a row.

    Raises:
        ValueError: for values out of range, and for layers that the pattern does not divide.

    Reference:
        Frantar, Alistarh, "Optimal Brain Compression: A Framework for Accurate Post-Training Quantization and Pruning", NeurIPS 2022,
        algorithm 1 and section 4.
    """

    def __init__(
        self, pattern: Pattern, damping: float = 1e-4, rows: int | None = None, max_columns: int = 1024
    ) -> None:
        super().__init__(pattern, True, damping)
        for name, value in (("rows", rows), ("max_columns", max_columns)):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        self.rows = rows
        self.max_columns = max_columns

    def zeros(self, layer: LayerRows, counts: Sequence[int]) -> Iterator[Tensor]:
        if layer.weight.shape[2] > self.max_columns:
            yield from column_order_zeros(layer, self.pattern, counts, self.damping)
            return
        trace = self.trace(layer)  # once, for it knows nothing of counts
        rows, steps = trace.order.shape
        going_on = order_of_rows(trace.loss)
        for count in counts:
            taken = rows * steps if isinstance(self.pattern, NM) else count
            lengths = going_on[:taken].bincount(minlength=rows)
            yield self._mask(layer.weight, trace, lengths)

    def _mask(self, weight: Tensor, trace: Trace, lengths: Tensor) -> Tensor:
        """Zeros (G, R, d) of so many steps of each row."""
        steps = torch.arange(trace.order.shape[1], device=weight.device)
        zeros = torch.zeros(len(lengths), weight.shape[2] // self.pattern.size, dtype=torch.bool, device=weight.device)
        zeros.scatter_(1, trace.order, steps < lengths[:, None])
        return zeros.repeat_interleave(self.pattern.size, dim=1).view_as(weight)

    def trace(self, layer: LayerRows) -> Trace:
        """Prune all rows of a layer, of all groups one after the other, as far as the pattern goes; it knows nothing of a count."""
        groups, rows, columns = layer.weight.shape
        inverse = damped(layer.hessian, self.damping)[1]
        living = layer.weight.masked_fill(dead_inputs(layer.hessian).unsqueeze(1), 0).flatten(0, 1)
        group = torch.arange(groups, device=living.device).repeat_interleave(rows)
        return trace_rows(living, inverse, group, self.pattern, self.rows or rows_at_once(columns))


def trace_rows(weight: Tensor, inverse: Tensor, group: Tensor, pattern: Pattern, rows: int) -> Trace:
    """Prune rows to the end, or as far as the pattern goes, and write down what was done.

    Args:
        weight: (R, d).
        inverse: (G, d, d), damped.
        group: (R,) which inverse belongs to a row.
        pattern: where zeros may be.
        rows: how many at once.
    """
    parts = [_trace(weight[i : i + rows], inverse, group[i : i + rows], pattern) for i in range(0, len(weight), rows)]
    return Trace(torch.cat([part.order for part in parts]), torch.cat([part.loss for part in parts]))


def _trace(weight: Tensor, inverse: Tensor, group: Tensor, pattern: Pattern) -> Trace:
    steps = units = weight.shape[1] // pattern.size
    if isinstance(pattern, NM):
        steps = units // pattern.m * (pattern.m - pattern.n)
        taken = torch.zeros(len(weight), units // pattern.m, dtype=torch.int64, device=weight.device)
    elimination = Elimination(weight, inverse, group, pattern.size, steps)
    found = []
    for _ in range(steps):
        cost = elimination.cost(elimination.weight)
        if isinstance(pattern, NM):
            whole = taken.gather(1, elimination.unit // pattern.m) == pattern.m - pattern.n
            cost = cost.masked_fill(whole, torch.inf)
        step = elimination.fix(cost.argmin(1))
        if isinstance(pattern, NM):
            taken.scatter_add_(1, step.unit[:, None] // pattern.m, torch.ones_like(step.unit[:, None]))
        found.append(step)
    return Trace(torch.stack([step.unit for step in found], 1), torch.stack([step.loss for step in found], 1))


def order_of_rows(loss: Tensor) -> Tensor:
    """Which row goes on next if it is always the one whose next step costs least, the first of equals: (R · K,) rows.

    Sorting all steps would take some before those that they depend on: a step can cost less than the one before it. So each counts as much
    as the dearest of its row up to it, which is the order that a heap of the next steps would give.

    Args:
        loss: (R, K) of each step of each row.
    """
    dearest: Tensor = loss.cummax(dim=1).values.flatten()
    return dearest.argsort(stable=True) // loss.shape[1]
