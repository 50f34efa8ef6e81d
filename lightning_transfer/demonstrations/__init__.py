"""Worked examples in a prompt: which rows of the training split, and in which order."""

from lightning_transfer.demonstrations.base import Demonstrations
from lightning_transfer.demonstrations.fixed import FixedDemonstrations
from lightning_transfer.demonstrations.random import RandomDemonstrations
from lightning_transfer.demonstrations.similar import SimilarDemonstrations

__all__ = ["Demonstrations", "FixedDemonstrations", "RandomDemonstrations", "SimilarDemonstrations"]
