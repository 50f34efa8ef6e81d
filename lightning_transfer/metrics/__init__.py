"""Metrics: made for K classes, they compare logits with targets."""

from lightning_transfer.metrics.classification import classification_metrics

__all__ = ["classification_metrics"]
