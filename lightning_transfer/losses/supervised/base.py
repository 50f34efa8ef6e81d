"""What all supervised losses share: the tasks that they are for, and class weights."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from lightning_transfer.parts import Part
from lightning_transfer.tasks import Task


class SupervisedLoss(Part, nn.Module, ABC):
    """Compares logits with targets; where there are classes, they count by `class_weight`, a buffer (K,) that the checkpoint keeps.

    The module calls `set_num_classes` once for classes, and `set_class_weight` where weights are wanted.

    Attributes:
        tasks: what the targets can be.
        takes_soft_targets: whether targets can be (B, K) shares of the classes, as mixing makes them.
    """

    class_weight: Tensor
    tasks: ClassVar[tuple[Task, ...]] = ("classification", "multi_label")
    takes_soft_targets: ClassVar[bool] = True

    def set_num_classes(self, num_classes: int) -> None:
        """Start with all classes alike."""
        self.register_buffer("class_weight", torch.ones(num_classes))

    def set_class_weight(self, weight: Tensor) -> None:
        """Weigh the classes: (K,), all ≥ 0."""
        self.class_weight.copy_(weight)

    def balance(self, counts: Tensor, total: int) -> None:
        """Weigh the classes by the inverse of how often they occur: total / (K × count), whose mean over samples is 1.

        Args:
            counts: (K,) training samples of each class.
            total: training samples.
        """
        self.set_class_weight(total / (len(counts) * counts.clamp(min=1)))

    @abstractmethod
    def forward(self, logits: Tensor, target: Tensor) -> Tensor: ...
