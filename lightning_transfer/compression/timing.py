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
    """

    milliseconds: float
    ratio: tuple[float, float, float]


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
    found = {}
    for name, taken in seconds.items():
        ratios = [first / own for first, own in zip(seconds[names[0]], taken, strict=True)]
        found[name] = Timing(1e3 * statistics.median(taken), (statistics.median(ratios), min(ratios), max(ratios)))
    return found
