"""The images of base, validation and novel classes, with turned classes and images of two modalities."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lightning_transfer.data.episode_checks import check_modality
from lightning_transfer.data.episode_sampling import Pool
from lightning_transfer.data.sources import ImageSource, Joined, Subset

if TYPE_CHECKING:
    from lightning_transfer.data.base import ImageData


class Turned(ImageSource):
    """Images as they are, and turned by 90, 180 and 270 degrees as images of further classes: class k turned r times is r x K + k.

    Args:
        source: the images.
        num_classes: K.
    """

    def __init__(self, source: ImageSource, num_classes: int) -> None:
        self.source = source
        self.targets = torch.cat([source.targets + turn * num_classes for turn in range(4)])
        self.names = turned_names(source.names)
        self.captions = None if source.captions is None else [*source.captions] * 4
        self.groups = None if source.groups is None else [*source.groups] * 4

    def image(self, index: int) -> Tensor:
        turn, i = divmod(index, len(self.source))
        return self.source.image(i).rot90(turn, (1, 2))

    def version(self, index: int) -> bytes:
        turn, i = divmod(index, len(self.source))
        return f"turned {turn} ".encode() + self.source.version(i)


def turned_names(names: Sequence[str]) -> list[str]:
    """Names of things as they are, and turned by 90, 180 and 270 degrees."""
    return [f"{name} turned by {90 * turn}" if turn else name for turn in range(4) for name in names]


class Side(NamedTuple):
    """The images of one side of the classes.

    Shape:
        source has N images, whose targets number the side's K classes; classes (K,) int64: which of all classes each is; asked (N,) bool:
        which images can be queries alone, none of them where all images are both.
    """

    source: ImageSource
    classes: Tensor
    asked: Tensor


def make_sides(
    data: "ImageData",
    divided: Mapping[str, list[int]],
    support_from: str | None,
    query_from: str | None,
    rotations: bool,
) -> dict[str, Side]:
    """Give each class, with all images of the data that are of it, to one side.

    Args:
        data: the images, of all of its splits.
        divided: class numbers by side.
        support_from: the modality that examples are of; the image itself if not given.
        query_from: the same of queries; where it is another, a side has the images of both, one after the other.
        rotations: whether turned versions are further classes.

    Returns:
        sides that have classes

    Raises:
        ValueError: for a modality that the data lacks, or images without a class.
    """
    whole = _joined(list(data.sources().values()))
    if whole.targets.min() < 0:
        raise ValueError(f"{whole.names[int(whole.targets.argmin())]} has no class; episodes need one of each image")
    for argument, modality in (("support_from", support_from), ("query_from", query_from)):
        check_modality(argument, modality, whole, data)
    modalities = [support_from] if support_from == query_from else [support_from, query_from]
    sides = {}
    for split, numbers in divided.items():
        if numbers:
            side = _side(whole, modalities, numbers, len(data.class_names))
            sides[split] = _with_turned(side, len(data.class_names)) if rotations else side
    return sides


def _side(whole: ImageSource, modalities: Sequence[str | None], numbers: list[int], num_classes: int) -> Side:
    number = torch.full((num_classes,), -1)
    number[numbers] = torch.arange(len(numbers))
    targets = number[whole.targets]
    rows = torch.nonzero(targets >= 0).flatten()
    source = _joined([_chosen(whole, modality, rows, targets[rows]) for modality in modalities])
    return Side(source, torch.tensor(numbers), torch.arange(len(source)) >= len(rows))


def _with_turned(side: Side, num_classes: int) -> Side:
    classes = torch.cat([side.classes + turn * num_classes for turn in range(4)])
    return Side(Turned(side.source, len(side.classes)), classes, side.asked.repeat(4))


def _chosen(source: ImageSource, modality: str | None, rows: Tensor, targets: Tensor) -> ImageSource:
    found = Subset(source if modality is None else source.others[modality], rows)
    found.targets = targets
    found.others = {}  # an image of an episode is of one modality
    return found


def _joined(sources: Sequence[ImageSource]) -> ImageSource:
    return sources[0] if len(sources) == 1 else Joined(sources)


def make_pool(side: Side, draws: int | None, turns: int) -> Pool:
    """List the images of a side by their classes, near-copies together, and those for queries apart where there are such.

    Args:
        side: of the classes.
        draws: as how many images each counts; none if each episode makes a draw of its own.
        turns: versions of a class, of which an episode has one.
    """
    source = side.source
    groups: Sequence[object] = range(len(source)) if source.groups is None else source.groups
    alike: list[tuple[dict[object, list[int]], dict[object, list[int]]]] = [({}, {}) for _ in side.classes]
    for i, (k, asked) in enumerate(zip(source.targets.tolist(), side.asked.tolist(), strict=True)):
        alike[k][asked].setdefault(groups[i], []).append(i)
    support, query = [[*shown.values()] for shown, _ in alike], [[*asked.values()] for _, asked in alike]
    return Pool(support, query if side.asked.any() else None, len(source), draws, turns)
