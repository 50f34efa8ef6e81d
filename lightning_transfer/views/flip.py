"""The image and its mirror image."""

from collections.abc import Iterator

from torch import Tensor

from lightning_transfer.views.base import Views


class Flip(Views):
    """The image as it is, and mirrored left to right; not for characters, or whatever else has a left and a right."""

    def __call__(self, image: Tensor) -> Iterator[Tensor]:
        yield image
        yield image.flip(-1)
