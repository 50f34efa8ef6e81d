"""Some classes of other data, as data of its own."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from lightning_transfer.data.base import ImageData
from lightning_transfer.data.class_splits import class_numbers
from lightning_transfer.data.sources import ImageSource


class ClassSubsetData(ImageData):
    """The images of some classes of other data, in its splits and prepared as there; the classes are numbered anew, in the data's order.

    Args:
        data: the images of all classes; its arguments hold. Its test sets are narrowed like it.
        classes: at least two, by name, or by number where none is named so.
        predict_path: a folder of unlabelled images, or one file, for `predict`; the data's if not given.

    Raises:
        ValueError: for classes that the data does not have, or given twice, and for data whose images have no single class.
    """

    def __init__(self, data: ImageData, classes: list[int | str], predict_path: str | None = None) -> None:
        if data.task != "classification":
            raise ValueError(f"classes={classes} are chosen where an image has one, but the data is task={data.task}")
        self.numbers = find_classes(classes, data.class_names)
        super().__init__(
            image_size=data.image_size, batch_size=data.batch_size, num_workers=data.num_workers, val_fraction=0.0,
            test_fraction=0.0, split_seed=data.division.seed, cache=data.cache, on_error=data.on_error,
            augmentations=data.augmentations, predict_path=predict_path or data.predict_path,
            test_sets={name: self._likewise(each) for name, each in data.test_sets.items()},
            corruptions=[*data.corruptions.values()],
            same_class={name: self._likewise(each) for name, each in data.same_class.items()},
        )  # fmt: skip
        self.data = data
        # with the modality in them
        self.train_transform, self.eval_transform = data.train_transform, data.eval_transform
        self.views, self.view_modality = data.views, data.view_modality

    def _likewise(self, data: ImageData) -> "ClassSubsetData":
        return ClassSubsetData(data, [data.class_names[k] for k in self.numbers])

    @property
    def class_names(self) -> list[str]:
        return [self.data.class_names[k] for k in self.numbers]

    def prepare_data(self) -> None:
        self.data.prepare_data()
        super().prepare_data()

    def sources(self) -> dict[str, ImageSource]:
        return {name: self._chosen(source) for name, source in self.data.splits().items()}

    def _chosen(self, source: ImageSource) -> ImageSource:
        number = torch.full((self.data.num_classes + 1,), -1)  # the last one is that of images without a class
        number[self.numbers] = torch.arange(len(self.numbers))
        targets = number[source.targets]
        rows = (targets >= 0).nonzero().flatten()
        found = source.subset(rows)
        found.targets = targets[rows]
        return found

    def unlabelled(self, path: Path) -> ImageSource:
        return self.data.unlabelled(path)

    def transform_of(self, modality: str) -> nn.Module | None:
        return self.data.transform_of(modality)


def find_classes(classes: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """Numbers of classes, sorted, by their names, or by number where none is named so.

    Raises:
        ValueError: for unknown ones, fewer than two, or one given twice.
    """
    known = {*names}
    given = [
        str(each) if str(each) in known or not str(each).isdigit() or int(each) >= len(names) else names[int(each)]
        for each in classes
    ]
    found = sorted(class_numbers("classes", given, names))
    if len(found) < 2:
        raise ValueError(f"classes={list(classes)} leaves nothing to tell apart; give at least two")
    return found
