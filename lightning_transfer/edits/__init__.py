"""Edits: each changes a model in place, once, before training."""

from lightning_transfer.edits.adapter import Adapter
from lightning_transfer.edits.bitfit import BitFit
from lightning_transfer.edits.fake_quantise import FakeQuantise
from lightning_transfer.edits.freeze import FreezeBackbone
from lightning_transfer.edits.lora import LoRA
from lightning_transfer.edits.narrow_channels import NarrowChannels
from lightning_transfer.edits.norms import HoldStatistics, TrainNorms
from lightning_transfer.edits.p_tuning import PTuning
from lightning_transfer.edits.prefix_tuning import PrefixTuning
from lightning_transfer.edits.reinit import Reinit
from lightning_transfer.edits.soft_prompt import SoftPrompt
from lightning_transfer.edits.start_from import StartFrom
from lightning_transfer.edits.token_prompt import TokenPrompt

__all__ = [
    "Adapter",
    "BitFit",
    "FakeQuantise",
    "FreezeBackbone",
    "HoldStatistics",
    "LoRA",
    "NarrowChannels",
    "PTuning",
    "PrefixTuning",
    "Reinit",
    "SoftPrompt",
    "StartFrom",
    "TokenPrompt",
    "TrainNorms",
]
