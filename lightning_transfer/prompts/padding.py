"""A ring over the image's margin."""

from typing import Any

from torch import Tensor

from lightning_transfer.prompts.base import PixelPrompt, border


class PaddingPrompt(PixelPrompt):
    """A ring of pixels over the margin of the image, 2·3·p·W + 2·3·p·(W - 2p) values; what lies below is added to, or lost.

    Args:
        width: p ≥ 1, in pixels; 30 of 224 is the authors' choice, half the image covers all of it.
        kwargs: as for `PixelPrompt`.

    Shape:
        (B, 3, W, W) → (B, 3, W, W)

    Raises:
        ValueError: for a width below 1; at `build` for one above half the image.

    Reference:
        Bahng, Jahanian, Sankaranarayanan, Isola, "Exploring Visual Prompts for Adapting Large-Scale Models", arXiv 2203.17274, 2022:
        `space=normalised`, `init=normal`, SGD at a rate of 40.
    """

    def __init__(self, width: int = 30, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if width < 1:
            raise ValueError(f"width={width} of PaddingPrompt must be at least 1; an eighth of the image is common")
        self.width = width

    def region(self, size: int) -> Tensor:
        if 2 * self.width > size:
            raise ValueError(
                f"width={self.width} of PaddingPrompt is more than half of image_size={size}; {size // 2} covers all of it"
            )
        return border(size - 2 * self.width, size)
