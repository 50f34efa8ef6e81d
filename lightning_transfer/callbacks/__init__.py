"""Callbacks of ours; the others are Lightning's."""

from lightning_transfer.callbacks.adapter_checkpoint import AdapterCheckpoint
from lightning_transfer.callbacks.ema import EMA
from lightning_transfer.callbacks.frozen_cache import FrozenCache
from lightning_transfer.callbacks.phases import Phase, Phases
from lightning_transfer.callbacks.prediction_writer import PredictionWriter

__all__ = ["EMA", "AdapterCheckpoint", "FrozenCache", "Phase", "Phases", "PredictionWriter"]
