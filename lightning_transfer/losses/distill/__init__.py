"""Distillation losses: predictions of student and teacher of the same images, and targets, to a scalar.

All derive from `contracts.DistillLoss`. `logit.LogitLoss` is for those that compare scores of the same classes: it averages over the
teachers of an ensemble. `feature.FeatureLoss` is for those that compare what lies below the scores, whatever the classes are; it takes
embeddings or maps, or layers by their names. What needs widths or the training split gets a call of `prepare` before training, what
needs to know which images it sees also `indices`. All compute in single precision and in nats.
"""

from lightning_transfer.contracts import DistillLoss
from lightning_transfer.losses.distill.attention import AttentionTransfer
from lightning_transfer.losses.distill.crd import CRD
from lightning_transfer.losses.distill.dist import DIST
from lightning_transfer.losses.distill.dkd import DKD
from lightning_transfer.losses.distill.feature import FeatureLoss
from lightning_transfer.losses.distill.fitnet import FitNetHint
from lightning_transfer.losses.distill.hard_labels import HardLabels
from lightning_transfer.losses.distill.info_nce import InfoNCE
from lightning_transfer.losses.distill.labels import Labels
from lightning_transfer.losses.distill.logit import LogitLoss
from lightning_transfer.losses.distill.ofa import OFA
from lightning_transfer.losses.distill.pkt import PKT
from lightning_transfer.losses.distill.regression import FeatureRegression
from lightning_transfer.losses.distill.rkd import RKD
from lightning_transfer.losses.distill.similarity import SimilarityPreserving
from lightning_transfer.losses.distill.soft_target import SoftTargetKL
from lightning_transfer.losses.distill.standardised import Standardised

__all__ = [
    "CRD",
    "DIST",
    "DKD",
    "OFA",
    "PKT",
    "RKD",
    "AttentionTransfer",
    "DistillLoss",
    "FeatureLoss",
    "FeatureRegression",
    "FitNetHint",
    "HardLabels",
    "InfoNCE",
    "Labels",
    "LogitLoss",
    "SimilarityPreserving",
    "SoftTargetKL",
    "Standardised",
]
