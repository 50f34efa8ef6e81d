"""Probes: `fit(train, val, num_classes)` on fixed embeddings (N, D) gives a head (B, D) → (B, K) and what validation chose."""

from lightning_transfer.contracts import Probe
from lightning_transfer.probes.knn import KnnProbe
from lightning_transfer.probes.logistic import LogisticProbe
from lightning_transfer.probes.ridge import RidgeProbe
from lightning_transfer.probes.sgd import SgdProbe

__all__ = ["KnnProbe", "LogisticProbe", "Probe", "RidgeProbe", "SgdProbe"]
