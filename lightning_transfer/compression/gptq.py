"""Rounding column after column, while the columns that are still free make up for it."""

import torch
from torch import Tensor

from lightning_transfer.compression.base import Rounding, check_damping
from lightning_transfer.compression.grid import fit_grid
from lightning_transfer.compression.hessian import damped
from lightning_transfer.compression.rows import LayerRows


class GPTQ(Rounding):
    """Round all rows' weights of one input after the other, inputs with the largest mean square first, and let later ones make up for it.

    Weights that are zero stay zero; what would have become of them is passed on as well. A layer takes O(d³ + R d²).

    Args:
        bits: of a weight, 2 to 8.
        symmetric: whether the grid has its middle at 0, as integer kernels want it.
        damping: share of the mean squared input that is added to each squared input, ≥ 0.
        largest_first: whether inputs are taken by their mean square, or as they stand.

    Raises:
        ValueError: for values out of range.

    Reference:
        Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
        ICLR 2023, algorithm 1; the order is that of the published code's `act_order`.
    """

    def __init__(
        self, bits: int = 4, symmetric: bool = True, damping: float = 1e-2, largest_first: bool = True
    ) -> None:
        super().__init__(bits, symmetric)
        check_damping(damping)
        self.damping = damping
        self.largest_first = largest_first

    def solve(self, layer: LayerRows, planned: int) -> Tensor:
        grid = fit_grid(layer.weight, planned, self.symmetric)
        hessian = damped(layer.hessian, self.damping)[0]
        groups = torch.arange(len(hessian), device=hessian.device)[:, None]
        if self.largest_first:
            order = hessian.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
        else:
            order = torch.arange(hessian.shape[1], device=hessian.device).expand(len(hessian), -1)
        inverse = torch.cholesky_inverse(
            torch.linalg.cholesky(hessian[groups[:, :, None], order[:, :, None], order[:, None]])
        )
        upper = torch.linalg.cholesky(inverse).transpose(1, 2)  # U with H⁻¹ = UᵀU
        places = order.unsqueeze(1).expand_as(layer.weight)
        weight = layer.weight.gather(2, places)
        zero = weight == 0
        for i in range(weight.shape[2]):
            chosen = grid.nearest(weight[:, :, i : i + 1]).squeeze(2).masked_fill(zero[:, :, i], 0)
            error = (weight[:, :, i] - chosen) / upper[:, i, i, None]
            weight[:, :, i + 1 :] -= error.unsqueeze(2) * upper[:, i, i + 1 :].unsqueeze(1)
            weight[:, :, i] = chosen
        return torch.empty_like(weight).scatter_(2, places, weight)
