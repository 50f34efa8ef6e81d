"""Inner loops: a backbone, an episode's support with its labels, and queries → logits (Q, K); the backbone stays as it is."""

from lightning_transfer.inner_loops.fine_tuning import FineTuning
from lightning_transfer.inner_loops.maml import ANIL, MAML
from lightning_transfer.inner_loops.transductive import TransductiveFineTuning

__all__ = ["ANIL", "MAML", "FineTuning", "TransductiveFineTuning"]
