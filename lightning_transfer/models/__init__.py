"""Models: images (B, C, H, W) in [0, 1] to `Prediction`."""

from lightning_transfer.models.classifier import Classifier

__all__ = ["Classifier"]
