"""How a set's samples become training, validation and test, and how few labels remain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from lightning_transfer.data.splits import few_labels, few_percent, stratified_split
from lightning_transfer.tasks import Task, TextTask


class Divisible(Protocol):
    """A numbered collection of samples, as `ImageSource` is one.

    Attributes:
        targets: (N,) int64, or (N, K) float.
        groups: N, or none; samples of one group stay on one side of every split.
    """

    targets: Tensor
    groups: Sequence[str] | None

    def __len__(self) -> int: ...

    def subset(self: "S", indices: Tensor) -> "S":
        """Those numbered so, in this order."""


S = TypeVar("S", bound=Divisible)


@dataclass(frozen=True)
class Division:
    """The shares of the splits, and how many labels are used; arguments as for `ImageData`.

    Args:
        val_fraction: share of the training images used for validation, where the set has no such split.
        test_fraction: share of all images used for the test, where the set has no such split.
        labels_per_class: how many labelled training images of each class are used; all if not given.
        fraction: share of the training images that is used, of each class alike; all if not given.
        seed: of splits and of the choice of few labels.
        samples: what the samples are, for messages.

    Raises:
        ValueError: for values out of range.
    """

    val_fraction: float
    test_fraction: float
    labels_per_class: int | None
    fraction: float | None
    seed: int
    samples: str = "images"

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

    def divide(self, sources: dict[str, S], task: Task | TextTask, class_names: list[str]) -> dict[str, S]:
        """Split off what is missing, and leave few labels.

        Args:
            sources: what the set brings.
            task: what the targets are.
            class_names: K.

        Returns:
            `train`, `val` and `test`, as far as there are samples
        """
        splits = {name: source for name, source in sources.items() if len(source)}
        if "train" in splits:
            for name, share in (("test", self.test_fraction), ("val", self.val_fraction)):
                if name not in splits and share > 0:
                    splits["train"], splits[name] = self._split_off(name, share, splits["train"], task)
            splits["train"] = self._few(splits["train"], task, class_names)
        return splits

    def _split_off(self, name: str, share: float, train: S, task: Task | TextTask) -> tuple[S, S]:
        keep, out = stratified_split(strata(train, task), share, self.seed, train.groups)
        if not len(out):
            raise ValueError(
                f"{name}_fraction={share} of {len(train)} {self.samples} is none; raise it, or set it to 0 for no {name} split"
            )
        return train.subset(keep), train.subset(out)

    def _few(self, train: S, task: Task | TextTask, class_names: list[str]) -> S:
        if self.labels_per_class is not None:
            if task in _CLASSLESS:
                raise ValueError(
                    f"labels_per_class={self.labels_per_class}, but {_CLASSLESS[task]} have no classes; use fraction for few labels"
                )
            return train.subset(few_labels(train.targets, self.labels_per_class, self.seed, class_names, self.samples))
        if self.fraction is not None and self.fraction < 1:
            return train.subset(few_percent(strata(train, task), self.fraction, self.seed))
        return train


_CLASSLESS = {"regression": "numbers", "generation": "free answers"}


def strata(source: Divisible, task: Task | TextTask) -> Tensor:
    """Targets that splits share out alike; numbers and free answers are shared out at random, as if all were of one class."""
    return torch.zeros(len(source), dtype=torch.long) if task in _CLASSLESS else source.targets
