"""Supervised losses: logits (B, K) and targets (B,) or (B, K) to a scalar; where there are classes, each takes weights for them."""

from lightning_transfer.losses.supervised.base import SupervisedLoss
from lightning_transfer.losses.supervised.binary_cross_entropy import BinaryCrossEntropy
from lightning_transfer.losses.supervised.cross_entropy import CrossEntropy
from lightning_transfer.losses.supervised.focal import Focal
from lightning_transfer.losses.supervised.regression import MeanSquaredError, SmoothL1

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Focal", "MeanSquaredError", "SmoothL1", "SupervisedLoss"]
