"""Corruptions of images, after the evaluation transform: what a model meets when cameras, weather and files are worse than its data.

`noise`, `blur`, `weather` and `digital` hold functions (image (3, H, W) in [0, 1], a severity's constant) -> image, and a table of
the five constants of each. Random ones draw from torch's generator on the CPU, which the data set seeds for each image.
"""

from lightning_transfer.data.corruptions.corruption import CORRUPTIONS, Corruption

__all__ = ["CORRUPTIONS", "Corruption"]
