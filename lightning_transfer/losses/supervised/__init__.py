"""Supervised losses: logits (B, K) and targets (B,) or (B, K) to a scalar; each takes weights for the classes."""

from lightning_transfer.losses.supervised.base import SupervisedLoss
from lightning_transfer.losses.supervised.binary_cross_entropy import BinaryCrossEntropy
from lightning_transfer.losses.supervised.cross_entropy import CrossEntropy
from lightning_transfer.losses.supervised.focal import Focal

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Focal", "SupervisedLoss"]
