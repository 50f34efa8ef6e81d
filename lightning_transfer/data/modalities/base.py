"""What every modality keeps to, and a picture's transform with a modality behind it."""

from abc import ABC, abstractmethod
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import to_dtype

from lightning_transfer.contracts import TransformFactory
from lightning_transfer.parts import Part


class Modality(Part, nn.Module, ABC):
    """Turns a picture into what another sensor might have seen of it."""

    def forward(self, picture: Tensor) -> Tensor:
        return self.sense(to_dtype(picture, torch.float32, scale=True)).clamp(0, 1)

    @abstractmethod
    def sense(self, picture: Tensor) -> Tensor:
        """Compute the modality, (3, H, W), of a picture (3, H, W) in [0, 1]."""


class InModality(Part, nn.Module):
    """A transform of pictures and what the model then sees of its result.

    Args:
        transform: uint8 or float (3, H, W) to (3, size, size).
        modality: of its result.
    """

    def __init__(self, transform: nn.Module, modality: Modality) -> None:
        super().__init__()
        self.transform = transform
        self.modality = modality

    def both(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The modality, and the picture that it is of."""
        picture = self.transform(image)
        return self.modality(picture), picture

    def forward(self, image: Tensor) -> Tensor:
        return self.both(image)[0]


def behind(transform: TransformFactory, modality: Modality | None) -> TransformFactory:
    """Put a modality behind what a factory makes; without one the factory stays as it is."""
    return transform if modality is None else partial(_made, transform, modality)


def _made(transform: TransformFactory, modality: Modality, size: int) -> InModality:
    return InModality(transform(size), modality)
