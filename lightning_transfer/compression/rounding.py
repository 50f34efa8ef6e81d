"""Rounding weights to few bits: to the nearest number, what every other way has to beat."""

from torch import Tensor

from lightning_transfer.compression.base import Rounding
from lightning_transfer.compression.grid import fit_grid
from lightning_transfer.compression.rows import LayerRows


class RoundToNearest(Rounding):
    """Round each weight to the nearest number of its output channel's grid; no image is looked at.

    The weights stay floating-point numbers, of which 2^bits are different in a row: whoever runs the checkpoint needs nothing new,
    and gains nothing but a file that packs better. `export` with int8 is what runs faster.

    Args:
        bits: of a weight, 2 to 8.
        symmetric: whether the grid has its middle at 0, as integer kernels want it.

    Raises:
        ValueError: for values out of range.
    """

    needs_inputs = False

    def __init__(self, bits: int = 8, symmetric: bool = True) -> None:
        super().__init__(bits, symmetric)

    def solve(self, layer: LayerRows, planned: int) -> Tensor:
        return fit_grid(layer.weight, planned, self.symmetric).nearest(layer.weight)
