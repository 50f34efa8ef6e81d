"""The whole image as a prompt."""

import torch
from torch import Tensor

from lightning_transfer.prompts.base import PixelPrompt


class FramePrompt(PixelPrompt):
    """Values for every pixel of the image, 3·W² of them: a watermark.

    Args:
        kwargs: as for `PixelPrompt`.

    Reference:
        Cai, Ye, Feng, Qi, Liu, "Sample-specific Masks for Visual Reprogramming-based Prompting", ICML 2024, compare with it.
    """

    def region(self, size: int) -> Tensor:
        return torch.ones(size, size, dtype=torch.bool)
