"""What every compression offers: new weights for one layer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lightning_transfer.compression.hessian import damped
from lightning_transfer.compression.patterns import Pattern
from lightning_transfer.compression.refit import refit
from lightning_transfer.compression.rows import LayerRows
from lightning_transfer.parts import Part


class Compression(Part, ABC):
    """Chooses a layer's weights anew, such that its output on the calibration images changes little. Zeros stay zeros.

    Attributes:
        needs_inputs: whether it looks at the calibration images; else the Hessian is nothing to it.
        bits: of a weight, where it rounds weights to a grid.
    """

    needs_inputs: bool = True
    bits: int | None = None

    def obstacle(self, weight: Tensor, channels: int) -> str | None:  # most take layers of any size
        """Why a layer with weights (G, R, d) cannot be compressed so, or None if it can."""
        return None

    def plan(self, weights: Mapping[str, Tensor]) -> dict[str, Any]:  # most take layers one by one
        """Settle for each layer what depends on all of them; the answer is handed to `solve`."""
        return dict.fromkeys(weights)

    @abstractmethod
    def solve(self, layer: LayerRows, planned: Any) -> Tensor:
        """Return weights (G, R, d)."""

    def __call__(self, layer: LayerRows) -> Tensor:
        """Compress one layer by itself.

        Raises:
            ValueError: for a layer that it cannot compress.
        """
        reason = self.obstacle(layer.weight, layer.channels)
        if reason is not None:
            raise ValueError(f"{type(self).__name__} cannot compress {layer.name}: {reason}")
        return self.solve(layer, self.plan({layer.name: layer.weight})[layer.name])


class Pruning(Compression):
    """Sets weights to zero; a child chooses which.

    Args:
        pattern: how many, and where they may be.
        refit: whether the weights that are left are fitted to the layer's outputs by least squares.
        damping: share of the mean squared input that is added to each squared input, ≥ 0.

    Raises:
        ValueError: for values out of range, and for layers that the pattern does not divide.
    """

    def __init__(self, pattern: Pattern, refit: bool = True, damping: float = 1e-4) -> None:
        check_damping(damping)
        self.pattern = pattern
        self.refit = refit
        self.damping = damping

    def obstacle(self, weight: Tensor, channels: int) -> str | None:
        return self.pattern.obstacle(weight, channels)

    def plan(self, weights: Mapping[str, Tensor]) -> dict[str, int]:
        return self.pattern.counts(weights)

    def solve(self, layer: LayerRows, planned: int) -> Tensor:
        zeros = self.zeros(layer, planned) | (layer.weight == 0)
        if not self.refit:
            return layer.weight.masked_fill(zeros, 0)
        return refit(layer.weight, zeros, damped(layer.hessian, self.damping)[0])

    @abstractmethod
    def zeros(self, layer: LayerRows, count: int) -> Tensor:
        """Choose `count` units to make zero; a mask (G, R, d), true for zero. Weights that are zero already come first."""


def check_damping(damping: float) -> None:
    """Refuse a share that is negative.

    Raises:
        ValueError: saying what is common.
    """
    if damping < 0:
        raise ValueError(f"damping={damping} must not be negative; 1e-4 to 1e-2 are common")


def in_turn(compressions: Sequence[Compression], layer: LayerRows, planned: Sequence[Any]) -> Tensor:
    """Compress a layer by one compression after the other: pruned, then rounded, for example."""
    for compression, plan in zip(compressions, planned, strict=True):
        layer = layer._replace(weight=compression.solve(layer, plan))
    return layer.weight
