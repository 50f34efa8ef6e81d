"""What every set of views offers, and how several sets are combined."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lightning_transfer.parts import Part


class Views(Part, ABC):
    """A few ways to look at an image, the same for each image and each time."""

    @abstractmethod
    def __call__(self, image: Tensor) -> Iterator[Tensor]:
        """Yield the views of a batch one after the other, each (B, C, H, W) like the batch."""


def all_views(image: Tensor, views: Sequence[Views]) -> Iterator[Tensor]:
    """Combine sets of views: each view of the first in each view of the second, and so on.

    Args:
        image: (B, C, H, W).
        views: none leaves the image as it is.
    """
    if not views:
        yield image
        return
    for view in views[0](image):
        yield from all_views(view, views[1:])


def window(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """Cut a window out of images; where it reaches beyond them, it repeats their edge.

    Args:
        image: (B, C, H, W).
        top: row of the window's first row, also below 0.
        left: column of the window's first column, also below 0.
        height: of the window.
        width: of the window.
    """
    for axis, start, length in ((-2, top, height), (-1, left, width)):
        index = torch.arange(start, start + length, device=image.device).clamp(0, image.shape[axis] - 1)
        image = image.index_select(axis, index)
    return image
