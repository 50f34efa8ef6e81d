"""Optimisers, schedules and parameter groups."""

from lightning_transfer.optim.groups import ParamGroups, group_table
from lightning_transfer.optim.lars import LARS
from lightning_transfer.optim.normalised_sgd import NormalisedSGD
from lightning_transfer.optim.optim import Optim
from lightning_transfer.optim.schedules import StepDecay, WarmupCosine
from lightning_transfer.optim.spsa import SPSA

__all__ = ["LARS", "SPSA", "NormalisedSGD", "Optim", "ParamGroups", "StepDecay", "WarmupCosine", "group_table"]
