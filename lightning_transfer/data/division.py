"""How a set's images become training, validation and test, and how few labels remain."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_transfer.data.sources import ImageSource, Subset
from lightning_transfer.data.splits import few_labels, few_percent, stratified_split
from lightning_transfer.tasks import Task


@dataclass(frozen=True)
class Division:
    """The shares of the splits, and how many labels are used; arguments as for `ImageData`.

    Args:
        val_fraction: share of the training images used for validation, where the set has no such split.
        test_fraction: share of all images used for the test, where the set has no such split.
        labels_per_class: how many labelled training images of each class are used; all if not given.
        fraction: share of the training images that is used, of each class alike; all if not given.
        seed: of splits and of the choice of few labels.

    Raises:
        ValueError: for values out of range.
    """

    val_fraction: float
    test_fraction: float
    labels_per_class: int | None
    fraction: float | None
    seed: int

    def __post_init__(self) -> None:
        if self.labels_per_class is not None and self.labels_per_class < 1:
            raise ValueError(f"labels_per_class={self.labels_per_class} must be at least 1")
        for name, share in (("val_fraction", self.val_fraction), ("test_fraction", self.test_fraction)):
            if not 0 <= share < 1:
                raise ValueError(f"{name}={share} must lie in [0, 1)")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise ValueError(f"fraction={self.fraction} must lie in (0, 1]")
        if self.fraction is not None and self.labels_per_class is not None:
            raise ValueError(
                f"fraction={self.fraction} and labels_per_class={self.labels_per_class} are two ways to say one thing; "
                "give one"
            )

    def divide(self, sources: dict[str, ImageSource], task: Task, class_names: list[str]) -> dict[str, ImageSource]:
        """Split off what is missing, and leave few labels.

        Args:
            sources: what the set brings.
            task: what the targets are.
            class_names: K.

        Returns:
            `train`, `val` and `test`, as far as there are images
        """
        splits = {name: source for name, source in sources.items() if len(source)}
        if "train" in splits:
            for name, share in (("test", self.test_fraction), ("val", self.val_fraction)):
                if name not in splits and share > 0:
                    splits["train"], splits[name] = self._split_off(name, share, splits["train"], task)
            splits["train"] = self._few(splits["train"], task, class_names)
        return splits

    def _split_off(self, name: str, share: float, train: ImageSource, task: Task) -> tuple[ImageSource, ImageSource]:
        keep, out = stratified_split(_strata(train, task), share, self.seed, train.groups)
        if not len(out):
            raise ValueError(
                f"{name}_fraction={share} of {len(train)} images is none; raise it, or set it to 0 for no {name} split"
            )
        return Subset(train, keep), Subset(train, out)

    def _few(self, train: ImageSource, task: Task, class_names: list[str]) -> ImageSource:
        if self.labels_per_class is not None:
            if task == "regression":
                raise ValueError(
                    f"labels_per_class={self.labels_per_class}, but numbers have no classes; use fraction for few labels"
                )
            return Subset(train, few_labels(train.targets, self.labels_per_class, self.seed, class_names))
        if self.fraction is not None and self.fraction < 1:
            return Subset(train, few_percent(_strata(train, task), self.fraction, self.seed))
        return train


def _strata(source: ImageSource, task: Task) -> Tensor:
    """Targets that splits share out alike; numbers are shared out at random, as if all were of one class."""
    return torch.zeros(len(source), dtype=torch.long) if task == "regression" else source.targets
