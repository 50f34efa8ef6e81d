"""What every compression offers: new weights for one layer."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
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
    """

    needs_inputs: bool = True

    def obstacle(self, weight: Tensor, channels: int) -> str | None:  # most take layers of any size
        """Why a layer with weights (G, R, d) cannot be compressed so, or None if it can."""
        return None

    def plan(self, weights: Mapping[str, Tensor]) -> dict[str, Any]:  # most take layers one by one
        """Settle for each layer what depends on all of them; the answer is handed to `solve`."""
        return dict.fromkeys(weights)

    @abstractmethod
    def at(self, strength: float) -> "Compression":
        """The same way with another share of zeros, or another number of bits.

        Raises:
            ValueError: for a strength out of range, or a way that has one alone.
        """

    @abstractmethod
    def solve(self, layer: LayerRows, planned: Any) -> Tensor:
        """Return weights (G, R, d)."""

    def solve_all(self, layer: LayerRows, plans: Sequence[Any]) -> Iterator[Tensor]:  # most begin anew each time
        """Yield the weights (G, R, d) of each of several plans; what they have in common is done once."""
        return (self.solve(layer, planned) for planned in plans)

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

    def at(self, strength: float) -> "Pruning":
        return type(self)(**{**self.init_args, "pattern": self.pattern.at(strength)})

    def solve(self, layer: LayerRows, planned: int) -> Tensor:
        return next(self.solve_all(layer, [planned]))

    def solve_all(self, layer: LayerRows, plans: Sequence[int]) -> Iterator[Tensor]:
        known = damped(layer.hessian, self.damping) if self.refit else None
        for chosen in self.zeros(layer, plans):
            zeros = chosen | (layer.weight == 0)
            yield layer.weight.masked_fill(zeros, 0) if known is None else refit(layer.weight, zeros, *known)

    @abstractmethod
    def zeros(self, layer: LayerRows, counts: Sequence[int]) -> Iterator[Tensor]:
        """For each count choose so many units to make zero; a mask (G, R, d), true for zero. Weights that are zero already come first."""


class Rounding(Compression):
    """Rounds weights to few different numbers a row; a child chooses which weight becomes which.

    Args:
        bits: of a weight, 2 to 8.
        symmetric: whether the grid has its middle at 0, as integer kernels want it.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(self, bits: int, symmetric: bool = True) -> None:
        if bits not in range(2, 9):
            raise ValueError(f"bits={bits} must lie in 2 to 8; 4 and 8 are common")
        self.bits = int(bits)
        self.symmetric = symmetric

    def plan(self, weights: Mapping[str, Tensor]) -> dict[str, int]:
        return dict.fromkeys(weights, self.bits)

    def at(self, strength: float) -> "Rounding":
        return type(self)(**{**self.init_args, "bits": strength})

    @abstractmethod
    def solve(self, layer: LayerRows, planned: int) -> Tensor:
        """Return weights (G, R, d) of so many bits."""


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


def in_all_ways(
    compressions: Sequence[Compression], layer: LayerRows, plans: Sequence[Sequence[Any]]
) -> Iterator[Tensor]:
    """Compress a layer as `in_turn` does with every combination of several plans for each compression, the last one's changing first."""
    if not compressions:
        yield layer.weight
        return
    for weight in compressions[0].solve_all(layer, plans[0]):
        yield from in_all_ways(compressions[1:], layer._replace(weight=weight), plans[1:])
