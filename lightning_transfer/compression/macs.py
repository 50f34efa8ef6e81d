"""What a network computes."""

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


@torch.no_grad()
def count_macs(model: nn.Module, image: Tensor) -> int:
    """Multiplications, each with its addition, of a forward pass: those of convolutions, linear layers and attention.

    Args:
        model: in evaluation mode.
        image: (1, C, H, W), on the model's device.
    """
    # torch counts nothing for attention that a CPU does in one piece
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(image)
    return int(counter.get_total_flops()) // 2
