"""Edits: each changes a model in place, once, before training."""

from lightning_transfer.edits.freeze import FreezeBackbone
from lightning_transfer.edits.reinit import Reinit

__all__ = ["FreezeBackbone", "Reinit"]
