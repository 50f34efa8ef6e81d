"""Callbacks of ours; the others are Lightning's."""

from lightning_transfer.callbacks.adapter_checkpoint import AdapterCheckpoint
from lightning_transfer.callbacks.batch_finder import BatchFinder
from lightning_transfer.callbacks.ema import EMA
from lightning_transfer.callbacks.frozen_cache import FrozenCache
from lightning_transfer.callbacks.global_batch import GlobalBatch
from lightning_transfer.callbacks.keep_zeros import GradualPruning, KeepZeros
from lightning_transfer.callbacks.log_episode import LogEpisode
from lightning_transfer.callbacks.log_prompt import LogPrompt
from lightning_transfer.callbacks.log_retrieval import LogRetrieval
from lightning_transfer.callbacks.phases import Phase, Phases
from lightning_transfer.callbacks.prediction_writer import PredictionWriter
from lightning_transfer.callbacks.rate_finder import RateFinder
from lightning_transfer.callbacks.remap_labels import RemapLabels

__all__ = [
    "EMA",
    "AdapterCheckpoint",
    "BatchFinder",
    "FrozenCache",
    "GlobalBatch",
    "GradualPruning",
    "KeepZeros",
    "LogEpisode",
    "LogPrompt",
    "LogRetrieval",
    "Phase",
    "Phases",
    "PredictionWriter",
    "RateFinder",
    "RemapLabels",
]
