"""Mixings: a training batch and K to a batch whose images are mixed in pairs, with soft targets (B, K)."""

from lightning_transfer.mixing.base import Mixing
from lightning_transfer.mixing.choice import MixupOrCutMix
from lightning_transfer.mixing.cutmix import CutMix
from lightning_transfer.mixing.mixup import Mixup

__all__ = ["CutMix", "Mixing", "Mixup", "MixupOrCutMix"]
