"""How strongly a network can be compressed while validation tells no more than so much of a difference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightning_transfer.compression.base import Compression, Pruning, Rounding
from lightning_transfer.metrics.bootstrap import Interval

_LOWER_IS_BETTER = ("nll", "ece", "mae", "rmse")


@dataclass(frozen=True)
class Bound:
    """A list of strengths is searched by halves for the strongest whose drop on the validation split stays within a limit.

    Args:
        max_drop: of the metric, in its own unit, ≥ 0: 0.01 is a point of accuracy. A metric that is better when lower must not rise by more.
        strengths: shares of zeros, below 1, which all compressions that prune are given, or bits, from 2 on, for all that round.
        metric: of the validation split.
        confident: whether the worst end of the drop's interval counts, which both networks' answers to the same images give, or the
            drop itself. Few validation images have wide intervals.

    Raises:
        ValueError: for values out of range.
    """

    max_drop: float
    strengths: list[float]
    metric: str = "accuracy"
    confident: bool = True

    def __post_init__(self) -> None:
        if self.max_drop < 0:
            raise ValueError(f"bound.max_drop={self.max_drop} must not be negative; 0.01 is common")
        if not self.strengths or not (self._shares() or all(2 <= each <= 8 for each in self.strengths)):
            raise ValueError(
                f"bound.strengths={self.strengths} must be shares of zeros, in [0, 1), or bits, from 2 to 8, at least one of them"
            )

    def _shares(self) -> bool:
        return all(0 <= strength < 1 for strength in self.strengths)

    def ordered(self) -> list[float]:
        """Strengths from the weakest to the strongest."""
        return sorted(set(self.strengths), reverse=not self._shares())

    def at(self, compressions: Sequence[Compression], strength: float) -> list[Compression]:
        """The same compressions, those that prune or those that round at this strength.

        Raises:
            ValueError: if there are none.
        """
        kind: type[Compression] = Pruning if self._shares() else Rounding
        if not any(isinstance(compression, kind) for compression in compressions):
            what = (
                "shares of zeros, but nothing that is given prunes" if kind is Pruning else "bits, but nothing rounds"
            )
            raise ValueError(f"bound.strengths={self.strengths} are {what}; add such a compression")
        return [each.at(strength) if isinstance(each, kind) else each for each in compressions]

    def drop(self, change: Interval) -> Interval:
        """How much worse the metric became, by its change."""
        if self.metric.rpartition("/")[2] in _LOWER_IS_BETTER:
            return change
        return Interval(-change.value, -change.high, -change.low)

    def allows(self, drop: Interval) -> bool:
        """Whether a drop stays within the limit."""
        return (drop.high if self.confident else drop.value) <= self.max_drop


def last_that_holds(count: int, holds: Callable[[int], bool]) -> int | None:
    """By bisection the last of so many numbers for which something holds that holds for all before it, or None if for none."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if holds(middle) else (low, middle)
    return low - 1 if low else None
