"""The same samples in another modality: from which source they come, and which of its rows belongs to which sample."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from lightning_transfer.data.sources import ImageSource

if TYPE_CHECKING:
    from lightning_transfer.data.base import ImageData
    from lightning_transfer.data.datasets import ImageDataset


class Companion(NamedTuple):
    """Where a sample's other modality is found, and what prepares it.

    The data set seeds torch's generator alike for the sample and for each companion. So a transform that both share draws the same
    for both; and where `row` draws, its draws depend on seed, epoch and sample alone. A companion with a `draw` of its own above 0 is
    another view: it draws otherwise than the sample, and the same in every run.
    """

    source: ImageSource
    transform: nn.Module
    row: Callable[[int], int] = int  # as a rule the two are numbered alike
    draw: int = 0


def companions(data: "ImageData", split: str, images: "ImageDataset") -> dict[str, Companion]:
    """Find what goes along with the samples of a split: other modalities of the source's own, and other data's images of their class.

    Args:
        data: of the samples.
        split: train or val.
        images: the split's data set.

    Raises:
        ValueError: where they do not fit, or one is named like the picture behind a modality.
    """
    shared = images.picture_transform
    others = images.source.others.items()
    found = {name: Companion(other, data.transform_of(name) or shared) for name, other in others}
    for name, other in data.same_class.items():
        found[name] = same_class(name, other, split, images.source.targets, data.class_names)
    if split == "train" and data.views:
        found |= _views(data, images, found)
    if "picture" in found and images.transform is not shared:
        raise ValueError(
            "data.modality names the picture behind it `picture`, and so is another modality named; leave one out"
        )
    return found


def _views(data: "ImageData", images: "ImageDataset", found: dict[str, Companion]) -> dict[str, Companion]:
    """Further views of the training images, drawn one by one; every other one from another modality where `view_modality` names it."""
    other = images.source
    if data.view_modality is not None:
        if data.view_modality not in found:
            raise ValueError(
                f"view_modality={data.view_modality!r} is no modality of the data, which has {', '.join(found) or 'none'}; "
                "EmojiData has one with beside=twitter"
            )
        other = found.pop(data.view_modality).source  # seen as a view alone
    return {
        f"view_{i}": Companion((other, images.source)[i % 2], make(data.image_size), draw=i - 1)
        for i, make in enumerate(data.views, 2)
    }


class SameClass:
    """For each sample a row of another source that has its class, drawn by torch's generator.

    Args:
        targets: of the samples, (N,) class numbers.
        others: of the other source, which has each of these classes.
    """

    def __init__(self, targets: Tensor, others: Tensor) -> None:
        self.targets = targets.tolist()
        self.rows = {k: torch.nonzero(others == k).flatten() for k in set(self.targets)}

    def __call__(self, index: int) -> int:
        rows = self.rows[self.targets[index]]
        return int(rows[torch.randint(len(rows), ())])


def same_class(name: str, data: "ImageData", split: str, targets: Tensor, class_names: Sequence[str]) -> Companion:
    """Pair samples with images of the same class, behind the evaluation transform of the data that these are of.

    Args:
        name: of the modality, for errors.
        data: of the images.
        split: of both.
        targets: of the samples, (N,) class numbers.
        class_names: of the samples; those of the images may be of another kind, but must be as many, in the same order.

    Raises:
        ValueError: for samples without one class each, other classes, or data that lacks the split or a class in it.
    """
    names, splits = data.class_names, data.splits()
    if targets.ndim != 1 or targets.is_floating_point() or targets.min() < 0:
        raise ValueError(f"same_class.{name} pairs samples by their class, but these have none, or several")
    if len(names) != len(class_names) or (set(names) == set(class_names) and list(names) != list(class_names)):
        raise ValueError(
            f"same_class.{name} has the classes {', '.join(names[:5])}, ..., {len(names)} in all, and the data "
            f"{', '.join(class_names[:5])}, ..., {len(class_names)} in all; give data with the same classes in the same order"
        )
    if split not in splits:
        raise ValueError(f"same_class.{name} has no {split} split; give one, or a {split}_fraction above 0")
    missing = sorted(set(targets.tolist()) - set(splits[split].targets.tolist()))
    if missing:
        raise ValueError(f"same_class.{name} has no image of class {names[missing[0]]!r} in its {split} split")
    return Companion(splits[split], data.eval_transform(data.image_size), SameClass(targets, splits[split].targets))


def check_geometry(first: Tensor, other: Tensor, name: str) -> None:
    """Refuse pictures of unlike sizes where one transform draws for both: a crop would be at another place.

    Args:
        first: the sample's pixels.
        other: its other modality's.
        name: of the modality, for the error.

    Raises:
        ValueError: with both sizes.
    """
    if first.shape[-2:] != other.shape[-2:]:
        (h, w), (other_h, other_w) = first.shape[-2:], other.shape[-2:]
        raise ValueError(
            f"modality {name!r} has {other_h}x{other_w} pixels where the image has {h}x{w}: crops that are drawn for both need "
            "one size; resize the files"
        )
