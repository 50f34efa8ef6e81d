"""Compression: each chooses the weights of one layer anew, as zeros or on a grid, such that its outputs change little.

A compression is no edit. An edit sees a model alone and is made again whenever a checkpoint is loaded; a compression sees training
images, once, and all that is left of it is in the weights. Nothing is trained.
"""

from lightning_transfer.compression.base import Compression, Pruning, Rounding, in_turn
from lightning_transfer.compression.bound import Bound
from lightning_transfer.compression.budget import Budget
from lightning_transfer.compression.exact_obs import ExactOBS
from lightning_transfer.compression.gptq import GPTQ
from lightning_transfer.compression.magnitude import Magnitude
from lightning_transfer.compression.obq import OBQ
from lightning_transfer.compression.patterns import NM, Blocks, Pattern, Unstructured
from lightning_transfer.compression.rounding import RoundToNearest
from lightning_transfer.compression.rows import LayerRows
from lightning_transfer.compression.sparse_gpt import SparseGPT

__all__ = [
    "GPTQ",
    "NM",
    "OBQ",
    "Blocks",
    "Bound",
    "Budget",
    "Compression",
    "ExactOBS",
    "LayerRows",
    "Magnitude",
    "Pattern",
    "Pruning",
    "RoundToNearest",
    "Rounding",
    "SparseGPT",
    "Unstructured",
    "in_turn",
]
