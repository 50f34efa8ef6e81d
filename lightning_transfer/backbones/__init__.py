"""Backbones: images (B, C, H, W) in [0, 1] to `Features`; each begins with its own normalisation and has `num_features`."""

from lightning_transfer.backbones.base import Backbone, ModuleBackbone, as_backbone
from lightning_transfer.backbones.conv4 import Conv4
from lightning_transfer.backbones.image_text import ImageTextBackbone
from lightning_transfer.backbones.mlp import MLPBackbone
from lightning_transfer.backbones.timm import TimmBackbone

__all__ = ["Backbone", "Conv4", "ImageTextBackbone", "MLPBackbone", "ModuleBackbone", "TimmBackbone", "as_backbone"]
