"""Pruning by magnitude: what every other way has to beat."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from lightning_transfer.compression.base import Pruning
from lightning_transfer.compression.patterns import Pattern, unit_norms
from lightning_transfer.compression.rows import LayerRows


class Magnitude(Pruning):
    """Set the weights least in magnitude to zero, or the blocks least in norm.

    Args:
        pattern: how many, and where they may be.
        refit: whether the weights that are left are fitted to the layer's outputs by least squares; without it no image is looked at.
        damping: share of the mean squared input that is added to each squared input, ≥ 0.

    Reference:
        Han, Pool, Tran, Dally, "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015.
    """

    def __init__(self, pattern: Pattern, refit: bool = False, damping: float = 1e-4) -> None:
        super().__init__(pattern, refit, damping)
        self.needs_inputs = refit

    def zeros(self, layer: LayerRows, counts: Sequence[int]) -> Iterator[Tensor]:
        return (self.choose(layer.weight, count) for count in counts)

    def choose(self, weight: Tensor, count: int) -> Tensor:
        """Choose `count` units of weights (G, R, d) to make zero; a mask of that shape."""
        chosen = self.pattern.lowest(unit_norms(weight, self.pattern.size), count)
        return chosen.repeat_interleave(self.pattern.size, dim=2)
