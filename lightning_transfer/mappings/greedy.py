"""Sharing out sources among classes: the strongest pair first, or class by class."""

from itertools import chain

import torch
from torch import Tensor

_PART = 1 << 16  # pairs that are looked at together; the last of millions are seldom reached


def greedy(scores: Tensor, sources_per_class: int = 1) -> Tensor:
    """Bind the pair of the largest score, strike its source out, and its class once it has its sources; and so on.

    Of equal scores the lowest source is bound first, then the lowest class. So a class that no score speaks for gets one as well,
    and always the same.

    Args:
        scores: (S, K) of each source for each class.
        sources_per_class: m, with S ≥ K·m.

    Returns:
        sources (K, m) int64, those of a class in the order in which they were bound

    Example:
        >>> greedy(torch.tensor([[5, 4], [3, 0], [0, 0]])).flatten().tolist()
        [0, 1]
    """
    num_classes = scores.shape[1]
    bound: list[list[int]] = [[] for _ in range(num_classes)]
    taken: set[int] = set()
    order = scores.flatten().argsort(descending=True, stable=True)
    parts = (order[start : start + _PART].tolist() for start in range(0, len(order), _PART))
    for place in chain.from_iterable(parts):
        source, target = divmod(place, num_classes)
        if source not in taken and len(bound[target]) < sources_per_class:
            bound[target].append(source)
            taken.add(source)
            if len(taken) == num_classes * sources_per_class:
                break
    return torch.tensor(bound)


def round_robin(scores: Tensor, sources_per_class: int = 1) -> Tensor:
    """Let the classes take turns, each choosing the best source that is left.

    Args:
        scores: (S, K) of each source for each class.
        sources_per_class: m, the number of rounds, with S ≥ K·m.

    Returns:
        sources (K, m) int64

    Example:
        >>> round_robin(torch.tensor([[5, 6], [3, 0], [0, 0]])).flatten().tolist()
        [0, 1]
    """
    bound: list[list[int]] = [[] for _ in range(scores.shape[1])]
    left = scores.double()
    for _ in range(sources_per_class):
        for target, chosen in enumerate(bound):
            source = int(left[:, target].argmax())
            chosen.append(source)
            left[source] = -torch.inf
    return torch.tensor(bound)
