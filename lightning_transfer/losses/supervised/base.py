"""Class weights, the one thing that all supervised losses share."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from lightning_transfer.parts import Part


class SupervisedLoss(Part, nn.Module, ABC):
    """Compares logits with targets; classes count by `class_weight`, a buffer (K,) that the checkpoint keeps.

    The module calls `set_num_classes` once, and `set_class_weight` where weights are wanted.

    Attributes:
        takes_soft_targets: whether targets can be (B, K) shares of the classes, as mixing makes them.
    """

    class_weight: Tensor
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
