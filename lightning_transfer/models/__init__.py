"""Models: images (B, C, H, W) in [0, 1] to `Prediction`; those of images and texts encode either."""

from lightning_transfer.models.checkpoint_source import CheckpointSource
from lightning_transfer.models.classifier import Classifier
from lightning_transfer.models.image_text import ImageTextModel
from lightning_transfer.models.image_text_checkpoint import ImageTextCheckpoint, as_image_text
from lightning_transfer.models.open_clip import OpenClipModel
from lightning_transfer.models.probed import ProbedEncoder
from lightning_transfer.models.prompted import PromptedModel
from lightning_transfer.models.regressor import Regressor
from lightning_transfer.models.source import ModuleSource, Source, SourceModel, as_source
from lightning_transfer.models.zero_shot import ZeroShotModel
from lightning_transfer.models.zero_shot_source import ZeroShotSource

__all__ = [
    "CheckpointSource",
    "Classifier",
    "ImageTextCheckpoint",
    "ImageTextModel",
    "ModuleSource",
    "OpenClipModel",
    "ProbedEncoder",
    "PromptedModel",
    "Regressor",
    "Source",
    "SourceModel",
    "ZeroShotModel",
    "ZeroShotSource",
    "as_image_text",
    "as_source",
]
