"""How a module is optimised: optimiser, schedule and groups as three parts."""

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import AdamW

from lightning_transfer.contracts import OptimizerFactory, SchedulerFactory
from lightning_transfer.optim.groups import ParamGroups
from lightning_transfer.optim.schedules import WarmupCosine


@dataclass
class Optim:
    """Optimiser, schedule and parameter groups.

    Args:
        optimizer: makes the optimiser of parameter groups.
        schedule: makes the learning-rate schedule of the optimiser and the number of steps; none keeps rates as they are.
        groups: makes the groups of the model; by default all at one rate, norms and biases without decay.
    """

    optimizer: OptimizerFactory = AdamW
    schedule: SchedulerFactory | None = WarmupCosine
    groups: ParamGroups | None = None

    def build(self, model: nn.Module, total_steps: float) -> dict[str, Any]:
        """Make what Lightning's `configure_optimizers` returns.

        Args:
            model: whose trainable parameters are optimised.
            total_steps: optimiser steps of the whole training.

        Raises:
            ValueError: if a schedule needs the number of steps and the training has no end.
        """
        optimizer = self.optimizer((self.groups or ParamGroups())(model))
        for group in optimizer.param_groups:  # torch's schedulers know nothing of factors: multiply the rate itself
            group["lr"] *= group.pop("lr_factor")
        if self.schedule is None:
            return {"optimizer": optimizer}
        if total_steps == float("inf"):
            raise ValueError(
                "a schedule needs an end: set trainer.max_epochs or trainer.max_steps, or schedule to null"
            )
        scheduler = self.schedule(optimizer, int(total_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
