"""Losses of pairs: embeddings of what belongs together to a scalar.

Those of views of the same images derive from `contracts.ViewLoss`: `loss(student, teacher, target)`, where student and teacher are one
(B, D) a view and target is (B,), -1 where there is no label. A loss says what it needs (teacher, predictor, labels, how many views), and
`ContrastiveModule` sees to it. They normalise by themselves.

Those of images and texts derive from `ImageTextLoss`: vectors of unit length, a scale, perhaps a bias, and which captions are the same.

All compute in single precision, and compare with what all processes hold.
"""

from lightning_transfer.contracts import ViewLoss
from lightning_transfer.losses.pair.byol import BYOL
from lightning_transfer.losses.pair.clip import SymmetricCrossEntropy
from lightning_transfer.losses.pair.dino import DINO
from lightning_transfer.losses.pair.image_text import ImageTextLoss
from lightning_transfer.losses.pair.moco import MoCo, MoCoV3
from lightning_transfer.losses.pair.nt_xent import NTXent
from lightning_transfer.losses.pair.sigmoid import PairwiseSigmoid
from lightning_transfer.losses.pair.sup_con import SupCon
from lightning_transfer.losses.pair.vicreg import VICReg

__all__ = [
    "BYOL",
    "DINO",
    "ImageTextLoss",
    "MoCo",
    "MoCoV3",
    "NTXent",
    "PairwiseSigmoid",
    "SupCon",
    "SymmetricCrossEntropy",
    "VICReg",
    "ViewLoss",
]
