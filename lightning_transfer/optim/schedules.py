"""Learning rates over the steps of a training."""

import math
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR


class WarmupCosine(LambdaLR):
    """Linear warm-up, then half a cosine down to a share of the peak rate; stepped once an optimiser step.

    Args:
        optimizer: its groups' rates are the peaks.
        total_steps: optimiser steps of the whole training.
        warmup: length of the warm-up: below 1 a share of all steps, from 1 on a number of steps, within which a shorter training ends.
        final_factor: last rate over peak rate.

    Raises:
        ValueError: for a warm-up below 0, or a broken number of steps.

    Reference:
        Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, equation 5, without restarts.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup: float = 0.1, final_factor: float = 0.01) -> None:
        if warmup < 0 or (warmup >= 1 and warmup != round(warmup)):
            raise ValueError(
                f"warmup={warmup} must be a share of the steps in [0, 1), or a whole number of steps; 0.1 is common"
            )
        warmup_steps = round(warmup if warmup >= 1 else warmup * total_steps)

        def factor(step: int) -> float:
            if step < warmup_steps:
                return (step + 1) / warmup_steps
            progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
            return final_factor + (1 - final_factor) * 0.5 * (1 + math.cos(math.pi * progress))

        super().__init__(optimizer, factor)


class StepDecay(MultiStepLR):
    """The rate is multiplied by a factor at some shares of the training; stepped once an optimiser step.

    Args:
        optimizer: its groups' rates are the first ones.
        total_steps: optimiser steps of the whole training.
        milestones: shares of the steps, in (0, 1).
        gamma: the factor, > 0.

    Raises:
        ValueError: for a milestone or factor out of range.
    """

    def __init__(
        self, optimizer: Optimizer, total_steps: int, milestones: Sequence[float] = (0.5, 0.75), gamma: float = 0.1
    ) -> None:
        if not all(0 < share < 1 for share in milestones):
            raise ValueError(f"milestones={list(milestones)} of StepDecay are shares of the steps and lie in (0, 1)")
        if gamma <= 0:
            raise ValueError(f"gamma={gamma} of StepDecay must be positive; 0.1 is common")
        super().__init__(optimizer, [round(share * total_steps) for share in milestones], gamma)
