"""What every text encoder offers."""

from abc import ABC, abstractmethod

from torch import Tensor

from lightning_transfer.parts import Part


class TextEncoder(Part, ABC):
    """Turns texts into vectors whose cosines say how alike the texts are.

    Shape:
        N texts → (N, D) float, of unit length
    """

    @abstractmethod
    def __call__(self, texts: list[str]) -> Tensor: ...
