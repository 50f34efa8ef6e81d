"""Losses of pairs: two views' vectors to a scalar.

Those of images and texts derive from `image_text.ImageTextLoss`: vectors of unit length, a scale, perhaps a bias, and which captions are
the same.
"""

from lightning_transfer.losses.pair.clip import SymmetricCrossEntropy
from lightning_transfer.losses.pair.image_text import ImageTextLoss
from lightning_transfer.losses.pair.sigmoid import PairwiseSigmoid

__all__ = ["ImageTextLoss", "PairwiseSigmoid", "SymmetricCrossEntropy"]
