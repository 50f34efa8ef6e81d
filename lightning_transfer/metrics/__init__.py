"""Metrics: made for K classes or targets, they compare logits with targets."""

from lightning_transfer.metrics.classification import classification_metrics, multi_label_metrics
from lightning_transfer.metrics.episodes import EpisodeAccuracy, EpisodeInterval, episode_metrics
from lightning_transfer.metrics.regression import regression_metrics
from lightning_transfer.metrics.retrieval import Retrieval
from lightning_transfer.metrics.usual import usual_metrics

__all__ = [
    "EpisodeAccuracy",
    "EpisodeInterval",
    "Retrieval",
    "classification_metrics",
    "episode_metrics",
    "multi_label_metrics",
    "regression_metrics",
    "usual_metrics",
]
