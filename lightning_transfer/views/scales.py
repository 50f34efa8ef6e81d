"""The image from nearer and farther."""

from collections.abc import Iterator, Sequence

from torch import Tensor
from torchvision.transforms.v2.functional import resize

from lightning_transfer.views.base import Views, window


class Scales(Views):
    """The image enlarged about its middle, or made smaller with its edge repeated around it; its size stays, as transformers need it.

    Args:
        factors: of enlargement, > 0; 1 is the image as it is, which is a view only if it is named.

    Raises:
        ValueError: for no factor, or one that is not positive.
    """

    def __init__(self, factors: Sequence[float] = (1.0, 1.15)) -> None:
        if not factors or not all(factor > 0 for factor in factors):
            raise ValueError(f"factors={list(factors)} of Scales must hold at least one value, all of them positive")
        self.factors = list(factors)

    def __call__(self, image: Tensor) -> Iterator[Tensor]:
        height, width = image.shape[-2:]
        for factor in self.factors:
            size = [max(1, round(height * factor)), max(1, round(width * factor))]
            scaled = image if size == [height, width] else resize(image, size, antialias=True)
            yield window(scaled, (size[0] - height) // 2, (size[1] - width) // 2, height, width)
