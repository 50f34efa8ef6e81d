"""How a module is optimised: optimiser, schedule and groups as three parts."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn
from torch.optim import AdamW

from lightning_transfer.contracts import OptimizerFactory, SchedulerFactory
from lightning_transfer.optim.groups import ParamGroups
from lightning_transfer.optim.schedules import WarmupCosine

Scaling = Literal["none", "linear", "root"]
_USUAL_BATCH = 256  # images a step that rates are stated for in the literature


@dataclass
class Optim:
    """Optimiser, schedule and parameter groups.

    Args:
        optimizer: makes the optimiser of parameter groups.
        schedule: makes the learning-rate schedule of the optimiser and the number of steps; none keeps rates as they are.
        groups: makes the groups of the model; by default all at one rate, norms and biases without decay.
        scaling: whether rates are stated for steps of 256 images and grow with the images of a step, over processes and accumulated
            batches: in proportion (`linear`, Goyal et al. 2017), or as their square root (`root`); `none` takes them as they are.
    """

    optimizer: OptimizerFactory = AdamW
    schedule: SchedulerFactory | None = WarmupCosine
    groups: ParamGroups | None = None
    scaling: Scaling = "none"

    def build(self, model: nn.Module, total_steps: float, images: int | None = None) -> dict[str, Any]:
        """Make what Lightning's `configure_optimizers` returns.

        Args:
            model: whose trainable parameters are optimised.
            total_steps: optimiser steps of the whole training.
            images: of a step, over all processes; needed where rates are scaled by it.

        Raises:
            ValueError: if a schedule needs the number of steps and the training has no end, or rates a number of images that nobody knows.
        """
        scale = self._scale(images)
        optimizer = self.optimizer((self.groups or ParamGroups())(model))
        for group in optimizer.param_groups:  # torch's schedulers know nothing of factors: multiply the rate itself
            group["lr"] *= group.pop("lr_factor") * scale
        if self.schedule is None:
            return {"optimizer": optimizer}
        if total_steps == float("inf"):
            raise ValueError(
                "a schedule needs an end: set trainer.max_epochs or trainer.max_steps, or schedule to null"
            )
        scheduler = self.schedule(optimizer, int(total_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _scale(self, images: int | None) -> float:
        if self.scaling not in get_args(Scaling):
            raise ValueError(f"optim.scaling={self.scaling!r} must be one of {', '.join(get_args(Scaling))}")
        if self.scaling == "none":
            return 1.0
        if images is None:
            raise ValueError(
                f"optim.scaling={self.scaling} needs to know how many images a step has, which a datamodule's batch_size tells; give one, "
                "or scaling=none"
            )
        share = images / _USUAL_BATCH
        return share if self.scaling == "linear" else math.sqrt(share)
