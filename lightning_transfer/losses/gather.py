"""What all processes of a training hold, in the order of their ranks."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed import all_reduce, get_rank, get_world_size, is_available, is_initialized
from torchmetrics.utilities.distributed import gather_all_tensors


def processes() -> int:
    """How many there are."""
    return get_world_size() if is_available() and is_initialized() else 1


def gathered(tensor: Tensor) -> tuple[Tensor, int]:
    """Join a tensor (B, ...) of every process, without gradient, whatever its B is.

    Returns:
        the joined tensor, and where this process's part of it begins
    """
    tensor = tensor.detach()
    if not (is_available() and is_initialized()):
        return tensor, 0
    parts = gather_all_tensors(tensor)
    return torch.cat(parts), sum(len(part) for part in parts[: get_rank()])


def gathered_with_gradient(tensor: Tensor) -> tuple[Tensor, int]:
    """Join a tensor (B, ...) of every process such that the gradient of what each computes from it comes back to all.

    The gradient of a process's part is the sum over all processes; where these are averaged later, as DDP does, the mean of the
    processes' losses is what is differentiated.

    Returns:
        as `gathered`
    """
    if processes() == 1:
        return tensor, 0
    joined: Tensor
    joined, start = _Gather.apply(tensor)
    return joined, start


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> tuple[Tensor, int]:
        joined, start = gathered(tensor)
        ctx.rows = slice(start, start + len(tensor))
        return joined, start

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: None) -> Tensor:
        gradient = gradient.contiguous()
        all_reduce(gradient)
        return gradient[ctx.rows]
