"""LightningModules, one protocol a file."""

from lightning_transfer.modules.base import TransferModule
from lightning_transfer.modules.distill import DistillModule
from lightning_transfer.modules.finetune import FinetuneModule

__all__ = ["DistillModule", "FinetuneModule", "TransferModule"]
