"""A square at one place."""

from typing import Any

import torch
from torch import Tensor

from lightning_transfer.prompts.base import PixelPrompt


class PatchPrompt(PixelPrompt):
    """A square of 3·p² values at one place of the image; `side: 1` is a single pixel.

    Args:
        side: p ≥ 1, in pixels.
        top: rows above it.
        left: columns before it.
        kwargs: as for `PixelPrompt`.

    Raises:
        ValueError: for numbers out of range; at `build` for a square that reaches beyond the image.

    Reference:
        Bahng, Jahanian, Sankaranarayanan, Isola, "Exploring Visual Prompts for Adapting Large-Scale Models", arXiv 2203.17274, 2022.
    """

    def __init__(self, side: int, top: int = 0, left: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if side < 1 or top < 0 or left < 0:
            raise ValueError(
                f"side={side}, top={top}, left={left} of PatchPrompt: the side must be at least 1, the others at least 0"
            )
        self.side, self.top, self.left = side, top, left

    def region(self, size: int) -> Tensor:
        lowest, rightmost = self.top + self.side, self.left + self.side
        if max(lowest, rightmost) > size:
            raise ValueError(
                f"side={self.side}, top={self.top}, left={self.left} of PatchPrompt reach to row {lowest} and column {rightmost}, beyond "
                f"image_size={size}"
            )
        region = torch.zeros(size, size, dtype=torch.bool)
        region[self.top : lowest, self.left : rightmost] = True
        return region
