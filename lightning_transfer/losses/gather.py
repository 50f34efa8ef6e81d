"""What all processes of a training hold, in the order of their ranks."""

from typing import Any

import torch
from torch import Tensor
from torch.distributed import all_reduce, get_rank, get_world_size, is_available, is_initialized
from torchmetrics.utilities.distributed import gather_all_tensors


def gathered(tensor: Tensor) -> tuple[Tensor, int]:
    """Join a tensor (B, ...) of every process, without gradient, whatever its B is.

    Returns:
        the joined tensor, and where this process's part of it begins
    """
    tensor = tensor.detach()
    if not _distributed():
        return tensor, 0
    parts = gather_all_tensors(tensor)
    return torch.cat(parts), sum(len(part) for part in parts[: get_rank()])


def gathered_with_gradient(tensor: Tensor) -> tuple[Tensor, int]:
    """Join a tensor (B, ...) of every process, such that each process's loss sends its gradient to all that it looked at.

    The gradient is the sum over the processes' losses. All of them must run the backward pass.

    Returns:
        the joined tensor, and where this process's part of it begins
    """
    if not _distributed():
        return tensor, 0
    joined, offset = gathered(tensor)
    return _Gathered.apply(tensor, joined, offset), offset


def mean_of_all(total: Tensor, count: int) -> Tensor:
    """The mean over the samples of all processes, of this process's sum over its own.

    Its value is the same in all processes. Its gradient is that of this process's share times the number of processes: such that the
    mean over processes, which DDP takes, is the gradient of the mean over all samples, even where some have fewer.

    Args:
        total: scalar, summed over this process's samples.
        count: samples of all processes.
    """
    if not _distributed():
        return total / count
    value = total.detach().clone()
    all_reduce(value)
    share = total * (get_world_size() / count)
    return share + (value / count - share).detach()


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, joined: Tensor, offset: int) -> Tensor:
        ctx.part = slice(offset, offset + len(tensor))
        return joined

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].contiguous().clone()
        all_reduce(total)
        return total[ctx.part], None, None


def _distributed() -> bool:
    return is_available() and is_initialized()
