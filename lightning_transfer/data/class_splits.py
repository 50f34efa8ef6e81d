"""Which classes are for training, validation and test: no class is in two of them."""

from collections.abc import Sequence

import torch


def split_classes(
    names: Sequence[str], val: float | Sequence[str], novel: float | Sequence[str], seed: int
) -> dict[str, list[int]]:
    """Divide classes into base classes to train on, classes to validate on, and novel ones to test on.

    Args:
        names: K, of all classes.
        val: names of the classes to validate on, or their share of all classes, in [0, 1].
        novel: the same of the novel ones.
        seed: of the choice, where there is one.

    Returns:
        sorted class numbers of `train`, `val` and `test`; a split can be empty

    Raises:
        ValueError: for names that are unknown, given twice or on both sides, or shares that are out of range or come to nothing.
    """
    listed = {
        split: class_numbers(argument, given, names)
        for split, argument, given in (("val", "val_classes", val), ("test", "novel_classes", novel))
        if not isinstance(given, float | int)
    }
    if both := set(listed.get("val", ())) & set(listed.get("test", ())):
        raise ValueError(
            f"val_classes and novel_classes both hold {names[min(both)]!r}; a class is on one side, so take it out of one of them"
        )
    taken = {k for numbers in listed.values() for k in numbers}
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    free = [k for k in order if k not in taken]
    for split, argument, given in (("test", "novel_classes", novel), ("val", "val_classes", val)):
        if split not in listed:
            count = _count(argument, given, len(names), len(free))  # type: ignore[arg-type]  # a number here
            listed[split], free = free[:count], free[count:]
    return {"train": sorted(free), "val": sorted(listed["val"]), "test": sorted(listed["test"])}


def class_numbers(argument: str, given: Sequence[str], names: Sequence[str]) -> list[int]:
    """Numbers of classes by their names.

    Args:
        argument: what the user calls it, for errors.
        given: names.
        names: K, of all classes.

    Raises:
        ValueError: naming one that is unknown, or given twice.
    """
    numbers = {name: k for k, name in enumerate(names)}
    if unknown := [name for name in given if name not in numbers]:
        raise ValueError(
            f"{argument} holds {unknown[0]!r}, which is no class of the data; its {len(names)} classes are "
            f"{', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
        )
    if len(set(given)) < len(given):
        twice = next(name for name in given if list(given).count(name) > 1)
        raise ValueError(f"{argument} holds {twice!r} twice; name each class once")
    return [numbers[name] for name in given]


def _count(argument: str, share: float, classes: int, free: int) -> int:
    if not 0 <= share <= 1:
        raise ValueError(f"{argument}={share} is a share of the classes and lies in [0, 1], or a list of their names")
    count = round(share * classes)
    if share and not count:
        raise ValueError(
            f"{argument}={share} of {classes} classes is none; raise it, or set it to 0 for no such classes"
        )
    if count > free:
        raise ValueError(
            f"{argument}={share} of {classes} classes are {count}, but only {free} are not on another side; lower it"
        )
    return count
