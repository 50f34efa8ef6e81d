"""Steps in proportion to the weights that they change, for large batches."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer


class LARS(Optimizer):
    """SGD with momentum whose step is, layer by layer, a share of the weights' length: u = g + decay · p, m ← momentum · m + q · u, p ← p - lr · m.

    q is trust · ‖p‖ / ‖u‖ where both are positive, else 1. Parameters of one dimension or none (biases, norms) take q = 1 and no decay.

    Args:
        params: parameters or groups of them.
        lr: rate, > 0; SimCLR has 0.3 for 256 images a step (`Optim.scaling`).
        momentum: in [0, 1).
        weight_decay: ≥ 0.
        trust: η > 0, the share.

    Raises:
        ValueError: for values out of range.

    Reference:
        You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", 2017, algorithm 1.

    Deviation:
        ‖g + decay · p‖ instead of ‖g‖ + decay · ‖p‖, and the rate outside the momentum, as in the code of SimCLR and MoCo v3.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.3,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        trust: float = 0.001,
    ) -> None:
        if lr <= 0 or not 0 <= momentum < 1 or weight_decay < 0 or trust <= 0:
            raise ValueError(
                f"lr={lr}, momentum={momentum}, weight_decay={weight_decay}, trust={trust} of LARS: rate and trust must be positive, "
                "momentum in [0, 1), decay at least 0"
            )
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                update = parameter.grad
                if parameter.ndim > 1:
                    update = update.add(parameter, alpha=group["weight_decay"])
                    update = update * _ratio(parameter.norm(), update.norm(), group["trust"])
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].mul_(group["momentum"]).add_(update)
                parameter.sub_(state["momentum"], alpha=group["lr"])
        return loss


def _ratio(weights: torch.Tensor, update: torch.Tensor, trust: float) -> torch.Tensor:
    both = (weights > 0) & (update > 0)  # a tensor, so that a GPU need not be waited for
    return torch.where(both, trust * weights / update.clamp(min=torch.finfo(update.dtype).tiny), 1.0)
