"""A layer as a matrix: its weights as rows, what it multiplies them with as columns, group by group."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.nn.functional import pad, unfold

_VALUES = 1 << 24  # patches are taken out of so few images at once that they have about as many values


class LayerRows(NamedTuple):
    """What there is to know of a layer when its weights are chosen anew.

    Shape:
        weight (G, R, d) float64: G groups of R outputs and d inputs, G = 1 for all but grouped convolutions. A convolution's inputs
        stand by place in the kernel first and by channel within it, so that neighbours are channels of one place.
        hessian (G, d, d) float64: 2XXᵀ/N over N calibration images, of the group's inputs X at all positions.

    Attributes:
        name: for errors.
        channels: neighbours that belong to one place in the kernel; d for linear layers.
    """

    name: str
    weight: Tensor
    hessian: Tensor
    channels: int

    def error(self, weight: Tensor) -> float:
        """Squared output error of other weights: summed over outputs and positions, mean over the calibration images."""
        change = weight - self.weight
        return 0.5 * torch.einsum("gri,gij,grj->", change, self.hessian, change).item()

    def share(self, weight: Tensor) -> float:
        """Squared output error of other weights as a share of the output's square."""
        return self.error(weight) / max(self.error(torch.zeros_like(weight)), 1e-300)


def obstacle(layer: nn.Module) -> str | None:
    """Why a layer's weights cannot be taken as rows, or None if they can."""
    if type(layer) in (nn.Linear, nn.Conv2d, Conv2dSame):
        return None
    kind = type(layer).__name__
    if isinstance(layer, nn.Linear | nn.Conv2d):
        return f"a {kind}, which alters its weight or its input in a way of its own"
    return f"a {kind}, and neither nn.Linear nn.Conv2d"


def weight_rows(layer: nn.Module) -> Tensor:
    """Weights (G, R, d) of a layer, float64, a copy."""
    weight: Tensor = layer.weight.detach().double().clone()  # type: ignore[operator]
    if isinstance(layer, nn.Conv2d):
        grouped = weight.reshape(layer.groups, -1, weight.shape[1], weight[0, 0].numel())
        return grouped.transpose(2, 3).flatten(2)
    return weight.unsqueeze(0)


@torch.no_grad()
def set_rows(layer: nn.Module, rows: Tensor) -> None:
    """Put weights (G, R, d) into a layer: the inverse of `weight_rows`."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    if isinstance(layer, nn.Conv2d):
        rows = torch.unflatten(rows, 2, (-1, weight.shape[1])).transpose(2, 3)
    weight.copy_(rows.reshape(weight.shape))


def neighbours(layer: nn.Module) -> int:
    """Input channels of a group of a convolution, or inputs of a linear layer."""
    return int(layer.weight.shape[1])  # type: ignore[index]


def input_columns(layer: nn.Module, inputs: Tensor) -> Iterator[Tensor]:
    """What a layer multiplies its rows with: (G, d, positions of some images), until all images have been.

    Args:
        layer: without `obstacle`.
        inputs: (B, ..., d) of a linear layer, (B, C, H, W) of a convolution.
    """
    if not isinstance(layer, nn.Conv2d):
        yield inputs.reshape(-1, inputs.shape[-1]).T.unsqueeze(0)
        return
    padded = _padded(layer, inputs)
    kernel, channels = layer.weight[0, 0].numel(), layer.weight.shape[1]
    images = max(1, _VALUES // (kernel * padded[0].numel()))
    for part in torch.split(padded, images):
        if kernel == 1:
            patches = part[..., :: layer.stride[0], :: layer.stride[1]].flatten(2)
        else:
            patches = unfold(part, layer.kernel_size, layer.dilation, 0, layer.stride)
        grouped = torch.unflatten(patches, 1, (layer.groups, channels, kernel))  # (b, G, C/G, k, L)
        yield grouped.permute(1, 3, 2, 0, 4).reshape(layer.groups, kernel * channels, -1)


def _padded(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    if isinstance(layer, Conv2dSame):
        return pad_same(inputs, layer.kernel_size, layer.stride, layer.dilation)  # type: ignore[no-any-return, arg-type]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return pad(inputs, layer._reversed_padding_repeated_twice, mode)
