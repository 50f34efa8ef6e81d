"""Few-shot rules: support (E, S, D), its ways (E, S) and queries (E, Q, D), and which classes the ways are (E, K) → logits (E, Q, K)."""

from lightning_transfer.contracts import FewShotRule
from lightning_transfer.fewshot.baseline import BaselinePlusPlus
from lightning_transfer.fewshot.bd_cspn import BDCSPN
from lightning_transfer.fewshot.laplacian_shot import LaplacianShot
from lightning_transfer.fewshot.logistic import LogisticRule
from lightning_transfer.fewshot.matching import MatchingRule
from lightning_transfer.fewshot.nearest import NearestNeighbour
from lightning_transfer.fewshot.prototype import PrototypeRule
from lightning_transfer.fewshot.pt_map import PTMAP
from lightning_transfer.fewshot.ridge import RidgeRule
from lightning_transfer.fewshot.simple_shot import SimpleShot
from lightning_transfer.fewshot.tim import TIM, TIMADM
from lightning_transfer.fewshot.tip_adapter import TipAdapterRule

__all__ = [
    "BDCSPN",
    "PTMAP",
    "TIM",
    "TIMADM",
    "BaselinePlusPlus",
    "FewShotRule",
    "LaplacianShot",
    "LogisticRule",
    "MatchingRule",
    "NearestNeighbour",
    "PrototypeRule",
    "RidgeRule",
    "SimpleShot",
    "TipAdapterRule",
]
