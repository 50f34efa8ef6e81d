"""Targets of every kind made soft, the one thing that all mixings share."""

from abc import ABC, abstractmethod
from typing import Any

from torch.nn.functional import one_hot

from lightning_transfer.contracts import ImageBatch
from lightning_transfer.parts import Part


class Mixing(Part, ABC):
    """Mixes each image of a batch with the one before it, and their targets alike; a single image is mixed with itself.

    All draws come from torch's generator for the CPU, which the module seeds at each epoch.
    """

    def __call__(self, batch: ImageBatch, num_classes: int) -> ImageBatch:
        """Mix a batch.

        Args:
            batch: images (B, C, H, W), targets (B,) int64 or (B, K) in [0, 1].
            num_classes: K.

        Returns:
            images as many and as large, targets (B, K) float
        """
        target = one_hot(batch.target, num_classes) if batch.target.ndim == 1 else batch.target
        image, target = self.transform()(batch.image, target.float())
        return batch._replace(image=image, target=target)

    @abstractmethod
    def transform(self) -> Any:
        """Make a transform of torchvision, which takes and returns images and targets (B, K)."""


def check_alpha(name: str, alpha: float) -> float:
    """Refuse a parameter of the Beta distribution that is not positive."""
    if not alpha > 0:
        raise ValueError(f"{name}={alpha} must be positive; 0.2 mixes little, 1 draws every share alike")
    return alpha
