"""Models: images (B, C, H, W) in [0, 1] to `Prediction`."""

from lightning_transfer.models.classifier import Classifier
from lightning_transfer.models.regressor import Regressor
from lightning_transfer.models.source import SourceModel

__all__ = ["Classifier", "Regressor", "SourceModel"]
