"""What all processes of a training hold, in the order of their ranks."""

import torch
from torch import Tensor
from torch.distributed import get_rank, is_available, is_initialized
from torchmetrics.utilities.distributed import gather_all_tensors


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
