"""Batch norms that become part of the convolution in front of them."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_weights

from lightning_transfer.compression.rows import obstacle
from lightning_transfer.quantisation.flow import watch
from lightning_transfer.quantisation.layer import replace


def fold_batch_norms(model: nn.Module, image: Tensor) -> int:
    """Let convolutions compute, in place, what batch norms with their running statistics make of their outputs.

    Folded is a norm that alone reads what a convolution wrote; others, in front of a convolution for example, stay. Where a norm has an
    activation within it (timm's), that is left in its place.

    Args:
        model: computes the same in evaluation as before.
        image: (B, C, H, W), for the model to be watched with.

    Returns:
        how many were folded

    Reference:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018, section
        3.2, equation 14.

    Deviation:
        There, and in Krishnamoorthi's paper of 2018, norms go on following their batches in training; here they are folded for good,
        with the statistics that they have: those of a network that was trained before.
    """
    names = {module: name for name, module in model.named_modules()}
    convolutions = [m for m in names if isinstance(m, nn.Conv2d) and obstacle(m) is None]
    norms = [m for m in names if isinstance(m, nn.BatchNorm2d) and m.running_var is not None]
    flow = watch(model, image, [*convolutions, *norms])
    folded = 0
    for convolution in convolutions:
        norm = flow.only_reader(convolution)
        if isinstance(norm, nn.BatchNorm2d) and flow.calls[norm] == 1:
            _fold(convolution, norm)
            replace(model, names[norm], _left(norm))
            folded += 1
    return folded


@torch.no_grad()
def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    def precise(tensor: Tensor | None) -> Any:
        return None if tensor is None else tensor.double()

    weight, bias = fuse_conv_bn_weights(
        precise(convolution.weight), precise(convolution.bias), precise(norm.running_mean), precise(norm.running_var),
        norm.eps, precise(norm.weight), precise(norm.bias),
    )  # fmt: skip
    convolution.weight.copy_(weight)
    if convolution.bias is None:
        trains = convolution.weight.requires_grad or any(p.requires_grad for p in norm.parameters())
        convolution.bias = nn.Parameter(torch.zeros_like(convolution.weight[:, 0, 0, 0]), requires_grad=trains)
    convolution.bias.copy_(bias)


def _left(norm: nn.BatchNorm2d) -> nn.Module:
    """What remains of a norm: nothing, or what timm keeps inside it."""
    parts = [part for _, part in norm.named_children() if not isinstance(part, nn.Identity)]
    if not parts:
        return nn.Identity()
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts)
