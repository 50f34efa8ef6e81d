"""Learning rates over the steps of a training."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class WarmupCosine(LambdaLR):
    """Linear warm-up, then half a cosine down to a share of the peak rate; stepped once an optimiser step.

    Args:
        optimizer: its groups' rates are the peaks.
        total_steps: optimiser steps of the whole training.
        warmup: steps of the warm-up as a share of all, in [0, 1).
        final_factor: last rate over peak rate.

    Raises:
        ValueError: for a warm-up outside [0, 1).

    Reference:
        Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, equation 5, without restarts.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup: float = 0.1, final_factor: float = 0.01) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup={warmup} is a share of the steps and lies in [0, 1); 0.1 is common")
        warmup_steps = round(warmup * total_steps)

        def factor(step: int) -> float:
            if step < warmup_steps:
                return (step + 1) / warmup_steps
            progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
            return final_factor + (1 - final_factor) * 0.5 * (1 + math.cos(math.pi * progress))

        super().__init__(optimizer, factor)
