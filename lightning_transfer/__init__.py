"""Transfer learning with PyTorch Lightning: adapt a pretrained network on its inputs, its mapping or its outputs."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "ContrastiveModule",
    "DistillModule",
    "FewShotModule",
    "FinetuneModule",
    "ImageTextModule",
    "LanguagePromptModule",
    "Optim",
    "TimmBackbone",
    "TransferModule",
    "VisualPromptModule",
    "ZeroShotModule",
    "__version__",
    "load_adapter",
]

if TYPE_CHECKING:
    from lightning_transfer.adapter_file import load_adapter
    from lightning_transfer.backbones import TimmBackbone
    from lightning_transfer.modules import (
        ContrastiveModule,
        DistillModule,
        FewShotModule,
        FinetuneModule,
        ImageTextModule,
        LanguagePromptModule,
        TransferModule,
        VisualPromptModule,
        ZeroShotModule,
    )
    from lightning_transfer.optim import Optim

# Imported on first use: torch, Lightning and timm take seconds, and `lightning-transfer --help` needs none of them.
_HOMES = {
    "ContrastiveModule": "modules",
    "DistillModule": "modules",
    "FewShotModule": "modules",
    "FinetuneModule": "modules",
    "ImageTextModule": "modules",
    "LanguagePromptModule": "modules",
    "TransferModule": "modules",
    "VisualPromptModule": "modules",
    "ZeroShotModule": "modules",
    "Optim": "optim",
    "TimmBackbone": "backbones",
    "load_adapter": "adapter_file",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
