"""Heads: made by `(in_features, num_classes)`, they map embeddings (B, D) to logits (B, K)."""

from lightning_transfer.heads.cosine import CosineHead
from lightning_transfer.heads.linear import LinearHead
from lightning_transfer.heads.mlp import MLPHead

__all__ = ["CosineHead", "LinearHead", "MLPHead"]
