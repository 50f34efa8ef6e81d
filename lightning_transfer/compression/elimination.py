"""Optimal brain surgery on many rows at once: fix weights one after the other while the others make up for it."""

from typing import NamedTuple

import torch
from torch import Tensor

_COMPACT = 0.75  # columns that are done are dropped as soon as fewer than this share are left


class Step(NamedTuple):
    """What a step did to R rows: which unit it fixed in each, and by how much the squared output error rose."""

    unit: Tensor
    loss: Tensor


class Elimination:
    """Rows in each of which one unit after the other is fixed to a value; whatever is still free changes such that the output does least.

    A unit is one weight, or several neighbours. The inverse Hessian of what is free is never written down: it is the one that rows
    share less the outer products of a factor with a row a step, so that k steps on d weights take O(k²d), not O(kd²), and no row needs
    an inverse of its own. Fixed columns are dropped on the way.

    Args:
        weight: (R, d).
        inverse: (G, d, d), damped.
        group: (R,) which inverse belongs to a row.
        size: weights in a unit, a divisor of d.
        steps: most units that will be fixed.

    Attributes:
        weight: (R, n, size) of the n units that are left, free ones among them.
        block: (R, n, size, size) the inverse's blocks on the diagonal.
        unit: (R, n) numbers of these units.
        fixed: (R, n) which of them are fixed.
        columns: (R, n · size) numbers of their weights.

    Reference:
        Frantar, Alistarh, "Optimal Brain Compression: A Framework for Accurate Post-Training Quantization and Pruning", NeurIPS 2022,
        equations 3, 4 and 6, lemma 1.

    Deviation:
        The authors downdate an inverse for each row. The factor's rows are those of a Cholesky factorisation of the shared inverse in the
        row's own order, which gives the same numbers.
    """

    def __init__(self, weight: Tensor, inverse: Tensor, group: Tensor, size: int, steps: int) -> None:
        rows, columns = weight.shape
        units = columns // size
        self.size = size
        self.inverse = inverse
        self.group = group
        self.rows = torch.arange(rows, device=weight.device)
        self.within = torch.arange(size, device=weight.device)
        self.weight = weight.clone().view(rows, units, size)
        blocks = inverse.view(-1, units, size, units, size).diagonal(dim1=1, dim2=3)  # (G, size, size, n)
        self.block = blocks.permute(0, 3, 1, 2)[group]
        self.unit = torch.arange(units, device=weight.device).expand(rows, -1)
        self.fixed = torch.zeros(rows, units, dtype=torch.bool, device=weight.device)
        self.factor = weight.new_empty(rows, steps * size, columns)
        self.columns = self._columns_of(self.unit)
        self.units = units
        self.done = 0

    def cost(self, change: Tensor) -> Tensor:
        """Rise (R, n) of the squared output error if a unit moved by `change` (R, n, size); infinite for what is fixed."""
        if self.size == 1:
            cost = change.square().squeeze(-1) / self.block[..., 0, 0]
        else:
            cost = _solve(_lower(self.block), change.unsqueeze(-1))
            cost = cost.square().sum((-1, -2))
        return (0.5 * cost).masked_fill(self.fixed, torch.inf)

    def fix(self, place: Tensor, value: Tensor | None = None) -> Step:
        """Fix a unit of each row, and let the free ones make up for it.

        Args:
            place: (R,) where the units are among those left.
            value: (R, size); 0 if not given.
        """
        at = (self.rows, place)
        unit, was = self.unit[at], self.weight[at]
        inverse = self._inverse_at(unit, place)
        lower = _lower(torch.unflatten(inverse, 2, (-1, self.size))[self.rows, :, place])
        rows = _solve(lower, inverse)  # (R, size, n · size)
        share = _solve(lower, (was if value is None else was - value).unsqueeze(-1))  # (R, size, 1)
        self.weight.flatten(1).unsqueeze(1).baddbmm_(share.transpose(1, 2), rows, alpha=-1)
        by_unit = torch.unflatten(rows, 2, (-1, self.size)).transpose(1, 2)
        if self.size == 1:
            self.block.addcmul_(by_unit, by_unit, value=-1)
        else:
            self.block -= by_unit.transpose(2, 3) @ by_unit
        self.weight[at] = 0 if value is None else value
        self.fixed[at] = True
        self.factor[:, self.done * self.size : (self.done + 1) * self.size] = rows
        self.done += 1
        self._compact()
        return Step(unit, 0.5 * share.square().sum((1, 2)))

    def _inverse_at(self, unit: Tensor, place: Tensor) -> Tensor:
        """The rows (R, size, n · size) of the current inverse that belong to a unit of each row."""
        inverse = self.inverse[self.group[:, None], self._columns_of(unit)]
        inverse = inverse.gather(2, self.columns.unsqueeze(1).expand(-1, self.size, -1))
        if self.done:
            factor = self.factor[:, : self.done * self.size]
            own = torch.unflatten(factor, 2, (-1, self.size))[self.rows, :, place]  # (R, rows of the factor, size)
            inverse.baddbmm_(own.transpose(1, 2), factor, alpha=-1)
        return inverse

    def _columns_of(self, units: Tensor) -> Tensor:
        """Numbers (R, n · size) of the weights in units (R, n), or (R, size) of those in one (R,)."""
        return (self.size * units.unsqueeze(-1) + self.within).flatten(1)

    def _compact(self) -> None:
        units, free = self.unit.shape[1], self.units - self.done
        if free == 0 or free > _COMPACT * units:
            return
        kept = (~self.fixed).nonzero()[:, 1].view(-1, free)  # as many in each row
        columns = self._columns_of(kept)
        used = self.factor[:, : self.done * self.size]
        factor = self.factor.new_empty(*self.factor.shape[:2], columns.shape[1])
        torch.gather(used, 2, columns.unsqueeze(1).expand(-1, used.shape[1], -1), out=factor[:, : used.shape[1]])
        self.factor = factor
        self.weight = self.weight[self.rows[:, None], kept]
        self.block = self.block[self.rows[:, None], kept]
        self.unit = self.unit.gather(1, kept)
        self.columns = self._columns_of(self.unit)
        self.fixed = torch.zeros_like(kept, dtype=torch.bool)


def _solve(lower: Tensor, right: Tensor) -> Tensor:
    """The inverse of a lower triangular matrix times another."""
    if lower.shape[-1] == 1:
        return right / lower
    solved: Tensor = torch.linalg.solve_triangular(lower, right, upper=False)
    return solved


def _lower(matrix: Tensor) -> Tensor:
    """Cholesky factor; of a matrix that rounding has made indefinite, one that costs next to nothing."""
    if matrix.shape[-1] == 1:
        return matrix.clamp(min=torch.finfo(matrix.dtype).tiny).sqrt()
    factor, info = torch.linalg.cholesky_ex(matrix)
    if info.any():
        scale = matrix.diagonal(dim1=-2, dim2=-1).abs().amax(-1).clamp(min=1e-300)[..., None, None]
        identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        near: Tensor = torch.linalg.cholesky_ex(matrix + 1e-12 * scale * identity)[0]
        return torch.where(info[..., None, None] > 0, near, factor)
    return factor  # type: ignore[no-any-return]
