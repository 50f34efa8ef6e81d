"""Further test sets: what is asked of them before anything runs, and what they bring."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from lightning_transfer.data.sources import ImageSource

Named = TypeVar("Named", bound="Labelled")
_TAKEN = ("train", "val", "test", "predict", "corrupted")  # figures of something else are logged under these


class Classed(Protocol):
    """Anything that names its classes."""

    @property
    def class_names(self) -> list[str]: ...


class Divided(Protocol):
    """Anything that has splits."""

    def splits(self) -> dict[str, ImageSource]: ...


class Labelled(Protocol):
    """Anything whose figures are logged under a label."""

    @property
    def label(self) -> str: ...


def by_label(corruptions: Sequence[Named]) -> dict[str, Named]:
    """Key corruptions by what they are logged under.

    Raises:
        ValueError: naming a label that two have.
    """
    found = {corruption.label: corruption for corruption in corruptions}
    if len(found) < len(corruptions):
        labels = [corruption.label for corruption in corruptions]
        twice = next(label for label in found if labels.count(label) > 1)
        raise ValueError(f"corruptions: {twice} is given twice; the log could not tell the two apart")
    return found


def check_names(names: Iterable[str], others: Iterable[str] = ()) -> None:
    """Refuse a name of a test set under which something else is logged.

    Args:
        names: of the sets.
        others: names that are in use besides.

    Raises:
        ValueError: naming the first that will not do.
    """
    taken = [*_TAKEN, *others]
    for name in names:
        if name in taken or "/" in name or not name:
            raise ValueError(
                f"test_sets: {name!r} cannot name a set; metrics are logged as NAME/accuracy, so give a name without a slash "
                f"other than {', '.join(taken)}"
            )


def check_classes(sets: Mapping[str, Classed], class_names: Sequence[str]) -> None:
    """Refuse a test set with other classes, or with the same in another order.

    Args:
        sets: by name.
        class_names: of the data that the sets are tested beside.

    Raises:
        ValueError: naming the first that differs, and where.
    """
    for name, data in sets.items():
        found = list(data.class_names)
        if found == list(class_names):
            continue
        k = next((k for k, pair in enumerate(zip(found, class_names, strict=False)) if pair[0] != pair[1]), None)
        where = f"; class {k} is {found[k]!r} instead of {class_names[k]!r}" if k is not None else ""
        raise ValueError(
            f"test_sets.{name} has {len(found)} classes and the data has {len(class_names)}{where}; "
            "give data with the same classes in the same order"
        )


def further_sets(
    sets: Mapping[str, Divided], corruptions: Mapping[str, Named], own: ImageSource | None
) -> Iterator[tuple[str, ImageSource, Named | None]]:
    """Name what a test measures beside the data's own test split: sets, and what corruptions make of that split.

    Args:
        sets: further data by name.
        corruptions: by label.
        own: the data's test split, where it has one.

    Raises:
        ValueError: naming data without a test split.
    """
    for name, data in sets.items():
        if "test" not in data.splits():
            raise ValueError(f"test_sets.{name} has no test split; give one, or a test_fraction above 0")
        yield name, data.splits()["test"], None
    if corruptions and own is None:
        raise ValueError("corruptions need a test split of the data's own; give one, or a test_fraction above 0")
    for name, corruption in corruptions.items():
        assert own is not None
        yield name, own, corruption


def check_against_checkpoint(data: Classed, class_names: Sequence[str] | None) -> None:
    """Refuse data with other classes than a checkpoint knows, or with the same in another order.

    Args:
        data: to measure on.
        class_names: the checkpoint's, if it has any.

    Raises:
        ValueError: naming the first classes of both.
    """
    found = list(data.class_names)
    if class_names is not None and found != list(class_names):
        raise ValueError(
            f"data has {len(found)} classes ({', '.join(found[:5])}, ...), but the checkpoint knows {len(class_names)} "
            f"({', '.join(class_names[:5])}, ...); give data with the same classes in the same order"
        )
