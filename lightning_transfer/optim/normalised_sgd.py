"""Steps of one length, whatever the gradient's."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer


class NormalisedSGD(Optimizer):
    """Goes down each tensor's gradient by a step of length `lr`: p ← p - lr · g / ‖g‖; where the gradient is zero nothing moves.

    Args:
        params: parameters or groups of them.
        lr: length of a step over all entries of a tensor; 70 is the authors' for the border of a 224-pixel image with 69,840 entries,
            0.26 an entry. Multiplied by the root of the number of entries, another tensor moves as far.

    Raises:
        ValueError: for a rate that is not positive.

    Reference:
        Wu, Li, Wei, Wang, Yuille, Zhou, Xie, "Unleashing the Power of Visual Prompting At the Pixel Level", TMLR 2024.
    """

    def __init__(self, params: Iterable[Any], lr: float = 70.0) -> None:
        if lr <= 0:
            raise ValueError(f"lr={lr} of NormalisedSGD must be positive; it is the length of a step")
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    length = parameter.grad.norm().clamp(min=torch.finfo(parameter.dtype).tiny)
                    parameter.sub_(group["lr"] * (parameter.grad / length))
        return loss
