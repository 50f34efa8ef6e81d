"""A learned ring outside the image."""

from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from lightning_transfer.prompts.base import PixelPrompt, border


class ExtendPrompt(PixelPrompt):
    """A ring around the image as it is, 2·3·p·(W + 2p) + 2·3·p·W values; the source sees W + 2p pixels a side.

    Args:
        width: p ≥ 1, in pixels.
        kwargs: as for `PixelPrompt`.

    Shape:
        (B, 3, W, W) → (B, 3, W + 2p, W + 2p)

    Raises:
        ValueError: for a width below 1.

    Reference:
        Jia, Tang, Chen, Cardie, Belongie, Hariharan, Lim, "Visual Prompt Tuning", ECCV 2022, section 4.4 (ConvNets): `init=uniform`.
    """

    def __init__(self, width: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if width < 1:
            raise ValueError(f"width={width} of ExtendPrompt must be at least 1; 1 to 50 were tried")
        self.width = width

    def size_for(self, image_size: int) -> int:
        return image_size + 2 * self.width

    def region(self, size: int) -> Tensor:
        return border(size - 2 * self.width, size)

    def place(self, image: Tensor) -> Tensor:
        return pad(image, (self.width,) * 4)
