"""LightningModules, one protocol a file."""

from lightning_transfer.modules.base import TransferModule
from lightning_transfer.modules.contrastive import ContrastiveModule
from lightning_transfer.modules.distill import DistillModule
from lightning_transfer.modules.few_shot import FewShotModule
from lightning_transfer.modules.finetune import FinetuneModule
from lightning_transfer.modules.image_text import ImageTextModule
from lightning_transfer.modules.language_prompt import LanguagePromptModule
from lightning_transfer.modules.visual_prompt import VisualPromptModule
from lightning_transfer.modules.zero_shot import ZeroShotModule

__all__ = [
    "ContrastiveModule",
    "DistillModule",
    "FewShotModule",
    "FinetuneModule",
    "ImageTextModule",
    "LanguagePromptModule",
    "TransferModule",
    "VisualPromptModule",
    "ZeroShotModule",
]
