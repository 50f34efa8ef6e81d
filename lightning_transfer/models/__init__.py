"""Models: images (B, C, H, W) in [0, 1] to `Prediction`."""

from lightning_transfer.models.checkpoint_source import CheckpointSource
from lightning_transfer.models.classifier import Classifier
from lightning_transfer.models.probed import ProbedEncoder
from lightning_transfer.models.prompted import PromptedModel
from lightning_transfer.models.regressor import Regressor
from lightning_transfer.models.source import ModuleSource, Source, SourceModel, as_source

__all__ = [
    "CheckpointSource",
    "Classifier",
    "ModuleSource",
    "ProbedEncoder",
    "PromptedModel",
    "Regressor",
    "Source",
    "SourceModel",
    "as_source",
]
