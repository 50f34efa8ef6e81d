"""New classes by a folder of examples each, and images that are to be told by them."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

from lightning_transfer.contracts import Episode, ImageBatch
from lightning_transfer.data.datasets import ImageDataset
from lightning_transfer.data.episode_set import stacked
from lightning_transfer.data.images import image_files
from lightning_transfer.data.sources import FileSource, unlabelled


class NewClasses(Dataset[Episode]):
    """Queries by their numbers, each batch of them an episode with all examples.

    Args:
        support: the examples' images; their targets number the classes, of which each has at least one.
        query: the images to tell.
    """

    def __init__(self, support: ImageDataset, query: ImageDataset) -> None:
        self.support = support
        self.query = query

    def __len__(self) -> int:
        return len(self.query)

    @cached_property
    def examples(self) -> ImageBatch:
        """All of them, (1, S, ...)."""
        return stacked(self.support, [range(len(self.support))], self.support.source.targets.unsqueeze(0))

    def __getitems__(self, numbers: Sequence[int]) -> Episode:
        query = stacked(self.query, [numbers], torch.full((1, len(numbers)), -1))
        classes = torch.arange(int(self.support.source.targets.max()) + 1)
        return Episode(self.examples, query, classes.unsqueeze(0))


def new_class_folders(path: Path) -> list[Path]:
    """The folders of examples, one a class, sorted by their names.

    Args:
        path: the folder above them.

    Raises:
        FileNotFoundError: if it does not exist.
        ValueError: if it holds fewer than two folders, or one without images.
    """
    if not path.is_dir():
        raise FileNotFoundError(
            f"support_path={str(path)!r} is no folder; it should hold one folder of examples for each class"
        )
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if len(folders) < 2:
        raise ValueError(
            f"support_path={str(path)!r} holds {len(folders)} folders; two classes at least are to be told apart"
        )
    if empty := [folder.name for folder in folders if not image_files(folder)]:
        raise ValueError(f"support_path={str(path)!r}: class {empty[0]!r} has no images; give one example at least")
    return folders


def new_classes(support_path: Path, predict_path: Path, transform: nn.Module) -> NewClasses:
    """Find the examples and the images to tell.

    Args:
        support_path: a folder of folders, one a class.
        predict_path: a folder of images, or one file.
        transform: for all of them.

    Raises:
        FileNotFoundError, ValueError: for a folder that is not there, or holds nothing.
    """
    files = [image_files(folder) for folder in new_class_folders(support_path)]
    targets = torch.tensor([k for k, found in enumerate(files) for _ in found])
    support = FileSource([path for found in files for path in found], targets)
    return NewClasses(ImageDataset(support, transform), ImageDataset(unlabelled(predict_path), transform))
