"""Splits that are seeded, stratified by label, and keep near-copies together."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor


def stratified_split(
    targets: Tensor, fraction: float, seed: int, groups: Sequence[str] | None = None
) -> tuple[Tensor, Tensor]:
    """Take a share of every class out of a set.

    Args:
        targets: (N,) class numbers, or (N, K) for several labels an image, stratified by the rarest label of each.
        fraction: share to take out, in [0, 1); what rounding leaves over in one class is taken from the next, so that
            many small classes yield their share too. Of each class at least one group stays.
        seed: of the choice.
        groups: N; a group is taken out whole or not at all.

    Returns:
        sorted indices of what stays, and of what was taken out
    """
    generator = torch.Generator().manual_seed(seed)
    members: dict[object, list[int]] = defaultdict(list)
    for i in range(len(targets)):
        members[i if groups is None else groups[i]].append(i)
    strata: dict[int, list[list[int]]] = defaultdict(list)
    classes = _one_label(targets).tolist()
    for group in members.values():
        strata[classes[group[0]]].append(group)
    out: list[int] = []
    rest = 0.0
    for label in sorted(strata):
        stratum = strata[label]
        wanted = fraction * sum(map(len, stratum)) + rest
        taken = 0
        for j in torch.randperm(len(stratum), generator=generator).tolist()[1:]:
            if abs(taken + len(stratum[j]) - wanted) < abs(taken - wanted):
                out += stratum[j]
                taken += len(stratum[j])
        rest = max(-0.5, min(0.5, wanted - taken))  # bounded: one class of few large groups must not distort the next
    mask = torch.zeros(len(targets), dtype=torch.bool)
    mask[out] = True
    return torch.nonzero(~mask).flatten(), torch.nonzero(mask).flatten()


def few_labels(
    targets: Tensor, per_class: int, seed: int, class_names: Sequence[str], samples: str = "images"
) -> Tensor:
    """Choose `per_class` samples of every class; the choice of 5 is part of the choice of 10 of the same seed.

    Args:
        targets: (N,) class numbers, or (N, K); there images are added until each class has its number.
        per_class: images a class, ≥ 1.
        seed: of the choice.
        class_names: K, for the error.
        samples: what the samples are, for the error.

    Returns:
        sorted indices

    Raises:
        ValueError: naming the class that has too few, and the largest number that would do.
    """
    counts = class_counts(targets, len(class_names))
    least = int(counts.argmin())
    if counts[least] < per_class:
        remedy = f"at most {int(counts[least])} would do" if counts[least] else "add some, or take the class out"
        raise ValueError(
            f"labels_per_class={per_class}, but class {class_names[least]!r} has {int(counts[least])} training {samples}; "
            + remedy
        )
    order = _order(len(targets), seed)
    chosen: set[int] = set()
    for k in range(len(class_names)):
        has = targets[order] == k if targets.ndim == 1 else targets[order, k] > 0
        chosen.update(order[has][:per_class].tolist())
    return torch.tensor(sorted(chosen))


def few_percent(targets: Tensor, fraction: float, seed: int) -> Tensor:
    """Choose a share of every class, at least one image; a smaller share is part of a larger one of the same seed.

    Args:
        targets: as for `stratified_split`.
        fraction: share to keep, in (0, 1].
        seed: of the choice.

    Returns:
        sorted indices
    """
    order = _order(len(targets), seed)
    classes = _one_label(targets)[order]
    strata = [order[classes == k] for k in sorted(set(classes.tolist()))]
    return torch.cat([stratum[: max(1, round(fraction * len(stratum)))] for stratum in strata]).sort().values


def few_rows(targets: Tensor, count: int, seed: int) -> Tensor:
    """Choose `count` samples that the classes share as they do the whole; fewer are part of more of the same seed.

    Args:
        targets: (N,) class numbers.
        count: samples to keep, in [1, N].
        seed: of the choice.

    Returns:
        sorted indices
    """
    order = _order(len(targets), seed)
    place = torch.empty(len(targets), dtype=torch.double)
    for k in sorted(set(targets.tolist())):
        members = order[targets[order] == k]
        place[members] = (torch.arange(len(members), dtype=torch.double) + 0.5) / len(members)
    return order[place[order].argsort(stable=True)[:count]].sort().values


def class_counts(targets: Tensor, num_classes: int) -> Tensor:
    """Images of every class, (K,) int64."""
    if targets.ndim == 2:
        return targets.sum(0).long()
    return torch.bincount(targets, minlength=num_classes)


def target_statistics(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (over N) of numbers (N, K), (K,) each."""
    exact = targets.double()
    return exact.mean(0).float(), exact.std(0, correction=0).float()


def _one_label(targets: Tensor) -> Tensor:
    if targets.ndim == 1:
        return targets
    rarity = targets.sum(0).clamp(min=1).reciprocal()
    rarest = (targets * rarity).argmax(dim=1)
    return torch.where(targets.any(dim=1), rarest, -1)


def _order(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
