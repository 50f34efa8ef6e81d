"""How far a metric could have come out otherwise, had other images of the same kind been tested."""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_VALUES = 2_000_000  # resamples are taken in parts of so many counts


class Interval(NamedTuple):
    """A metric and the limits of its interval."""

    value: float
    low: float
    high: float


def bootstrap(
    measure: Callable[[Tensor], Mapping[str, Tensor]],
    count: int,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    biased: Collection[str] = (),
) -> dict[str, Interval]:
    """Compute percentile intervals of metrics over resampled images.

    An image that is drawn twice counts twice: `measure` gets how often each image was drawn, and looks at none again. The interval
    speaks of the choice of the test images; what another training would give is not in it.

    Args:
        measure: counts (R, N) float64 to metrics, each (R,); NaN where a resample cannot tell.
        count: N, images.
        groups: N; images of one group are drawn together, since near-copies are no independent evidence.
        resamples: how many are drawn, at least 1.
        level: share of the resamples within the limits, in (0, 1).
        seed: of the draws.
        biased: metrics ≥ 0 that resampling alone raises, as it does the calibration error, by so much perhaps that the value lies
            outside; their limits are lowered by the mean rise.

    Raises:
        ValueError: for values out of range.

    Reference:
        Efron, Tibshirani, "An introduction to the bootstrap", Chapman & Hall 1993, chapter 13; for groups: Davison, Hinkley, "Bootstrap
        methods and their application", Cambridge University Press 1997, section 3.8.

    Example:
        >>> right = torch.tensor([1.0, 0, 1, 1]).double()
        >>> bootstrap(lambda counts: {"accuracy": counts @ right / counts.sum(1)}, 4)["accuracy"]
        Interval(value=0.75, low=0.25, high=1.0)
    """
    if resamples < 1:
        raise ValueError(f"resamples={resamples} must be at least 1; 1000 is common")
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie in (0, 1); 0.95 is common")
    numbers = {group: i for i, group in enumerate(dict.fromkeys(range(count) if groups is None else groups))}
    member = None if groups is None else torch.tensor([numbers[group] for group in groups])
    generator = torch.Generator().manual_seed(seed)
    rows = max(1, _VALUES // count)
    found: list[Mapping[str, Tensor]] = []
    for start in range(0, resamples, rows):
        size = (min(rows, resamples - start), len(numbers))
        drawn = torch.randint(len(numbers), size, generator=generator)
        counts = torch.zeros(size, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(size, dtype=torch.float64))
        found.append(measure(counts if member is None else counts[:, member]))
    shares = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    values = measure(torch.ones(1, count, dtype=torch.float64))
    intervals = {}
    for name, value in values.items():
        drawn = torch.cat([part[name] for part in found]).double()
        limits = drawn.nanquantile(shares)
        if name in biased:
            limits = (limits - drawn.nanmean() + value).clamp(min=0)
        intervals[name] = Interval(value.item(), *limits.tolist())
    return intervals
