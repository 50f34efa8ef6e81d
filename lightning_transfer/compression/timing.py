"""How long networks take, each beside the others, so that what else the machine does bends them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch


class Timing(NamedTuple):
    """Medians over rounds.

    Attributes:
        milliseconds: of a call.
        ratio: time of the first one over this one's, of the same round: above 1 this one is faster. Median, least, greatest.
        seconds: of each round.
    """

    milliseconds: float
    ratio: tuple[float, float, float]
    seconds: tuple[float, ...] = ()

    def times_as_fast(self, other: "Timing") -> tuple[float, float, float]:
        """Time of another one over this one's, of the same round: median, least, greatest."""
        ratios = [theirs / own for theirs, own in zip(other.seconds, self.seconds, strict=True)]
        return statistics.median(ratios), min(ratios), max(ratios)


def time_beside(ways: Mapping[str, Callable[[], Any]], rounds: int = 15) -> dict[str, Timing]:
    """Time calls in turn, each round in another order; a first call of each is not counted.

    Args:
        ways: at least one, by name; the others are compared with the first.
        rounds: at least 1.

    Raises:
        ValueError: for a number below 1.
    """
    if rounds < 1:
        raise ValueError(f"rounds={rounds} must be at least 1; 15 is common")
    for call in ways.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = [*ways]
    for round_number in range(rounds):
        for place in range(len(names)):
            name = names[(place + round_number) % len(names)]
            begun = time.perf_counter()
            ways[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - begun)
    plain = {name: Timing(1e3 * statistics.median(taken), (1, 1, 1), (*taken,)) for name, taken in seconds.items()}
    return {name: timing._replace(ratio=timing.times_as_fast(plain[names[0]])) for name, timing in plain.items()}
