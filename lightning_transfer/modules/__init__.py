"""LightningModules, one protocol a file."""

from lightning_transfer.modules.base import TransferModule
from lightning_transfer.modules.contrastive import ContrastiveModule
from lightning_transfer.modules.distill import DistillModule
from lightning_transfer.modules.finetune import FinetuneModule
from lightning_transfer.modules.visual_prompt import VisualPromptModule

__all__ = ["ContrastiveModule", "DistillModule", "FinetuneModule", "TransferModule", "VisualPromptModule"]
