"""Gradient steps of many episodes at once, whatever the caller does about gradients."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_transfer.contracts import OptimizerFactory


def descend(
    loss: Callable[..., Tensor],
    start: Sequence[Tensor],
    given: Sequence[Tensor],
    optimizer: OptimizerFactory,
    steps: int,
) -> list[Tensor]:
    """Minimise a sum over episodes, which is each episode's minimum where the optimiser treats each entry by itself.

    Args:
        loss: of what is looked for and what is given, in that order; a scalar, the sum over episodes.
        start: what is looked for, at the start.
        given: tensors that stay as they are.
        optimizer: makes one of the parameters, such as SGD or Adam; one that mixes its entries, such as L-BFGS, would mix episodes.
        steps: number of them.

    Returns:
        what was found, without gradient
    """
    # copies: a tensor made in inference mode can never be part of a gradient
    with torch.inference_mode(False), torch.enable_grad():
        found = [tensor.detach().clone().requires_grad_() for tensor in start]
        fixed = [tensor.detach().clone() for tensor in given]
        stepper = optimizer(found)
        for _ in range(steps):
            stepper.zero_grad()
            loss(*found, *fixed).backward()  # type: ignore[no-untyped-call]  # torch's own gap
            stepper.step()
    return [tensor.detach() for tensor in found]
