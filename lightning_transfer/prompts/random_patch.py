"""A square that lies elsewhere in each image."""

from typing import Any

import torch
from torch import Tensor

from lightning_transfer.prompts.base import PixelPrompt
from lightning_transfer.seeds import drawing_by


class RandomPatchPrompt(PixelPrompt):
    """A square of 3·p² values, in training at a place that is drawn for each image anew; otherwise at one that the seed draws.

    Args:
        side: p ≥ 1, in pixels.
        seed: of the place in validation, test and prediction.
        kwargs: as for `PixelPrompt`.

    Raises:
        ValueError: for a side below 1; at `build` for one larger than the image.

    Reference:
        Bahng, Jahanian, Sankaranarayanan, Isola, "Exploring Visual Prompts for Adapting Large-Scale Models", arXiv 2203.17274, 2022.

    Deviation:
        There one place is drawn for a whole batch, never in the last row or column, and in evaluation too, so that no evaluation can
        be repeated.
    """

    def __init__(self, side: int, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if side < 1:
            raise ValueError(f"side={side} of RandomPatchPrompt must be at least 1")
        self.side, self.seed = side, seed

    def region(self, size: int) -> Tensor:
        if self.side > size:
            raise ValueError(f"side={self.side} of RandomPatchPrompt is larger than image_size={size}")
        region = torch.zeros(size, size, dtype=torch.bool)
        region[: self.side, : self.side] = True
        return region

    def positions(self, batch: int) -> Tensor:
        if self.training:
            return self.index + self._draw(batch)
        with drawing_by(self.seed):
            return self.index + self._draw(1)

    def _draw(self, count: int) -> Tensor:
        """How far the patch is moved from the corner, as flat numbers (count, 1); drawn on the CPU, alike for all devices."""
        rows, columns = torch.randint(0, self.output_size - self.side + 1, (2, count, 1))
        moved: Tensor = (rows * self.output_size + columns).to(self.index.device)
        return moved
