"""Losses of pairs: embeddings of views of the same images to a scalar.

All that train an encoder on views derive from `contracts.ViewLoss`: `loss(student, teacher, target)`, where student and teacher are one
(B, D) a view and target is (B,), -1 where there is no label. A loss says what it needs (teacher, predictor, labels, how many views), and
`ContrastiveModule` sees to it. All normalise by themselves, compute in single precision, and compare with what all processes hold.
"""

from lightning_transfer.contracts import ViewLoss
from lightning_transfer.losses.pair.byol import BYOL
from lightning_transfer.losses.pair.dino import DINO
from lightning_transfer.losses.pair.moco import MoCo, MoCoV3
from lightning_transfer.losses.pair.nt_xent import NTXent
from lightning_transfer.losses.pair.sup_con import SupCon
from lightning_transfer.losses.pair.vicreg import VICReg

__all__ = ["BYOL", "DINO", "MoCo", "MoCoV3", "NTXent", "SupCon", "VICReg", "ViewLoss"]
