"""The image, and moved a little to each side."""

from collections.abc import Iterator

from torch import Tensor

from lightning_transfer.views.base import Views, window


class Shifts(Views):
    """The image as it is, and moved left, right, up and down; what comes in repeats the edge.

    Args:
        pixels: how far, ≥ 1, of the prepared image.

    Raises:
        ValueError: for less than a pixel.
    """

    def __init__(self, pixels: int = 4) -> None:
        if pixels < 1:
            raise ValueError(f"pixels={pixels} of Shifts must be at least 1; a fiftieth of the image is common")
        self.pixels = pixels

    def __call__(self, image: Tensor) -> Iterator[Tensor]:
        height, width = image.shape[-2:]
        far = self.pixels
        for top, left in ((0, 0), (0, far), (0, -far), (far, 0), (-far, 0)):
            yield window(image, top, left, height, width)
