"""Prompts: learned pixels; images (B, 3, H, W) in [0, 1] to images for a source, which begins with its own normalisation."""

from lightning_transfer.prompts.base import PixelPrompt
from lightning_transfer.prompts.extend import ExtendPrompt
from lightning_transfer.prompts.frame import FramePrompt
from lightning_transfer.prompts.padding import PaddingPrompt
from lightning_transfer.prompts.patch import PatchPrompt
from lightning_transfer.prompts.random_patch import RandomPatchPrompt
from lightning_transfer.prompts.scale import ScalePrompt
from lightning_transfer.prompts.shrink import ShrinkPrompt

__all__ = [
    "ExtendPrompt",
    "FramePrompt",
    "PaddingPrompt",
    "PatchPrompt",
    "PixelPrompt",
    "RandomPatchPrompt",
    "ScalePrompt",
    "ShrinkPrompt",
]
