"""Callbacks of ours; the others are Lightning's."""

from lightning_transfer.callbacks.ema import EMA
from lightning_transfer.callbacks.prediction_writer import PredictionWriter

__all__ = ["EMA", "PredictionWriter"]
