"""The image at a learned size, with a learned border around it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from lightning_transfer.prompts.base import PixelPrompt

_LEAST, _GREATEST = 0.1, 5.0  # the authors' bounds


class ScalePrompt(PixelPrompt):
    """The image at a size that is learned, in the middle of a canvas whose 3·canvas² values show wherever the image does not.

    Args:
        scale: side of the image within over that of the canvas at the start, in [0.1, 5], to which it is held; above 1 the middle of the
            image fills the canvas.
        canvas: side of the result in pixels; that of the image as it comes if not given.
        kwargs: as for `PixelPrompt`.

    Shape:
        (B, 3, W, W) → (B, 3, canvas, canvas)

    Raises:
        ValueError: for a scale out of range.

    Reference:
        Tsao, Hsiung, Chen, Liu, Ho, "AutoVP: An Automated Visual Prompting Framework and Benchmark", ICLR 2024: `clamp=sigmoid`.

    Deviation:
        Sampling is bilinear without antialiasing, for its gradient tells the scale where to go; below half the image's own size it skips
        pixels.
    """

    def __init__(self, scale: float = 0.75, canvas: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not _LEAST <= scale <= _GREATEST:
            raise ValueError(f"scale={scale} of ScalePrompt must lie in [{_LEAST}, {_GREATEST}]; 0.5 to 1 are common")
        self.scale = nn.Parameter(torch.tensor(scale))
        self.canvas = canvas

    def size_for(self, image_size: int) -> int:
        return self.canvas or image_size

    def region(self, size: int) -> Tensor:
        return torch.ones(size, size, dtype=torch.bool)

    def place(self, image: Tensor) -> Tensor:
        scale = self.scale.clamp(_LEAST, _GREATEST)
        turn = torch.eye(2, 3, dtype=image.dtype, device=image.device) / scale
        size = [len(image), image.shape[1], self.output_size, self.output_size]
        grid = affine_grid(turn.expand(len(image), -1, -1), size, align_corners=False)
        return grid_sample(image, grid, padding_mode="zeros", align_corners=False)

    def mask(self, positions: Tensor) -> Tensor:
        return 1 - self.place(self.values.new_ones(1, 1, self.image_size, self.image_size))
