"""Optimisers, schedules and parameter groups."""

from lightning_transfer.optim.groups import ParamGroups, group_table
from lightning_transfer.optim.optim import Optim
from lightning_transfer.optim.schedules import WarmupCosine

__all__ = ["Optim", "ParamGroups", "WarmupCosine", "group_table"]
