"""Projectors and predictors: made by `(in_features)`, they turn (B, in_features) into (B, out_features), and tell `out_features`."""

from lightning_transfer.contracts import ProjectorFactory
from lightning_transfer.projectors.mlp import MLPProjector
from lightning_transfer.projectors.prototypes import PrototypeProjector

__all__ = ["MLPProjector", "ProjectorFactory", "PrototypeProjector"]
