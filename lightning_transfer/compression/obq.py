"""Optimal brain surgeon's way of rounding: in each row the weight first whose rounding the others can make up for best."""

import torch
from torch import Tensor

from lightning_transfer.compression.base import Rounding, check_damping
from lightning_transfer.compression.elimination import Elimination
from lightning_transfer.compression.grid import Grid, fit_grid
from lightning_transfer.compression.hessian import damped
from lightning_transfer.compression.refit import rows_at_once
from lightning_transfer.compression.rows import LayerRows


class OBQ(Rounding):
    """Round one weight of a row after the other to the grid, always the one that costs least, and let the others make up for it.

    A weight that was driven out of the grid's range is rounded before it can go farther. Weights that are zero stay zero. GPTQ comes as
    near with one order for all rows, in a fraction of the time.

    Args:
        bits: of a weight, 2 to 8.
        symmetric: whether the grid has its middle at 0, as integer kernels want it.
        damping: share of the mean squared input that is added to each squared input, ≥ 0.
        rows: how many are rounded at once, which changes nothing but memory and speed; as many as fit into half a gigabyte if not given.

    Raises:
        ValueError: for values out of range.

    Reference:
        Frantar, Alistarh, "Optimal Brain Compression: A Framework for Accurate Post-Training Quantization and Pruning", NeurIPS 2022,
        section 5, algorithm 3.
    """

    def __init__(self, bits: int = 4, symmetric: bool = True, damping: float = 1e-4, rows: int | None = None) -> None:
        super().__init__(bits, symmetric)
        check_damping(damping)
        if rows is not None and rows < 1:
            raise ValueError(f"rows={rows} must be at least 1")
        self.damping = damping
        self.rows = rows

    def solve(self, layer: LayerRows, planned: int) -> Tensor:
        grid = fit_grid(layer.weight, planned, self.symmetric)
        inverse = damped(layer.hessian, self.damping)[1]
        groups, outputs, columns = layer.weight.shape
        group = torch.arange(groups, device=inverse.device).repeat_interleave(outputs)
        flat, step = layer.weight.flatten(0, 1), self.rows or rows_at_once(columns)
        parts = [slice(start, start + step) for start in range(0, len(flat), step)]
        return torch.cat([_round(flat[part], inverse, group[part], grid.rows(part)) for part in parts]).view_as(
            layer.weight
        )


def _round(weight: Tensor, inverse: Tensor, group: Tensor, grid: Grid) -> Tensor:
    elimination = Elimination(weight, inverse, group, 1, weight.shape[1])
    result, is_zero = torch.zeros_like(weight), weight == 0
    in_range = 0.5 * (1 + 1e-9) * grid.scale.squeeze(1)
    for _ in range(weight.shape[1]):
        free, zero = elimination.weight.squeeze(2), is_zero.gather(1, elimination.unit)
        target = grid.nearest(free).masked_fill(zero, 0)
        change = free - target
        cost = elimination.cost(change.unsqueeze(2)).masked_fill(zero & ~elimination.fixed, -torch.inf)
        least, cheapest = cost.min(1)
        most, farthest = change.abs().masked_fill(elimination.fixed | zero, 0).max(1)
        place = torch.where((most > in_range) & (least >= 0), farthest, cheapest)
        value = target.gather(1, place[:, None])
        step = elimination.fix(place, value)
        result.scatter_(1, step.unit[:, None], value)
    return result
