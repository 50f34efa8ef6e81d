"""Label mappings: source logits (B, S) to target logits (B, K)."""

from lightning_transfer.mappings.base import LabelMapping
from lightning_transfer.mappings.first import FirstMapping

__all__ = ["FirstMapping", "LabelMapping"]
