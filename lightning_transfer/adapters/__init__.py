"""Adapters of image-text models: vectors of images (B, D) → logits (B, K), with the model's texts and what is learned beside them."""

from lightning_transfer.adapters.base import ImageTextAdapter
from lightning_transfer.adapters.cocoop import CoCoOp
from lightning_transfer.adapters.coop import CoOp
from lightning_transfer.adapters.tip_adapter import TipAdapter
from lightning_transfer.adapters.zero_shot import ZeroShot

__all__ = ["CoCoOp", "CoOp", "ImageTextAdapter", "TipAdapter", "ZeroShot"]
