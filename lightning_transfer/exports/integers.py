"""A network trained with `FakeQuantise` as ONNX has it: integers, and nodes that say which numbers they stand for."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.quantisation import ActivationQuantiser, QuantisedLayer, weight_scale
from lightning_transfer.quantisation.layer import quantised_layers, replace

_LARGEST = 2.0**30  # of a bias, whose products' sums must also fit into 32 bits


def is_quantised(model: Deployed) -> bool:
    """Whether the model was trained with `FakeQuantise`."""
    return bool(quantised_layers(model.model))


def in_floats(model: Deployed) -> Deployed:
    """A copy of a quantised model that rounds nothing: what the integers are timed beside."""
    copy = deepcopy(model)
    for name, module in list(copy.model.named_modules()):
        if isinstance(module, QuantisedLayer):
            replace(copy.model, name, module.base)
        elif isinstance(module, ActivationQuantiser) and not name.endswith((".before", ".behind")):
            replace(copy.model, name, nn.Identity())
    return copy


def in_integers(model: Deployed) -> Deployed:
    """A copy of a quantised model that holds integers, to be traced for ONNX.

    Raises:
        ValueError: if a layer's ranges were never found, or for a version of torch that cannot write such nodes.
    """
    if not hasattr(torch.onnx, "ops"):
        raise ValueError(f"a quantised model is written as ONNX by torch 2.8 and newer; this is {torch.__version__}")
    copy = deepcopy(model)
    for name, module in list(copy.model.named_modules()):
        if isinstance(module, ActivationQuantiser) and module.seen == 0:
            raise ValueError(
                f"{name} has no range, since no training batch came by: train with FakeQuantise, and freeze no layer that it rounds"
            )
        if isinstance(module, QuantisedLayer):
            kind = _IntegerConvolution if isinstance(module.base, nn.Conv2d) else _IntegerLinear
            replace(copy.model, name, kind(module))
        elif isinstance(module, ActivationQuantiser) and not name.endswith((".before", ".behind")):
            replace(copy.model, name, _Rounding(module))
    return copy


class _Rounding(nn.Module):
    """To integers and back, as ONNX writes it."""

    scale: Tensor
    zero: Tensor

    def __init__(self, quantiser: ActivationQuantiser) -> None:
        super().__init__()
        scale, zero = quantiser.grid()
        self.register_buffer("scale", scale)
        self.register_buffer("zero", zero.to(torch.uint8))
        # ONNX's integers have 8 bits: fewer are those that lie between two of them
        self.ends = None
        if quantiser.top < 255:
            self.ends = (float(-zero * scale), float((quantiser.top - zero) * scale))

    def forward(self, x: Tensor) -> Tensor:
        if self.ends is not None:
            x = x.clamp(*self.ends)
        numbers = torch.onnx.ops.symbolic(
            "QuantizeLinear", (x, self.scale, self.zero), dtype=torch.uint8, shape=x.shape
        )
        return _dequantised(numbers, self.scale, self.zero)


class _IntegerConvolution(nn.Module):
    """A convolution whose weights are int8 and whose bias is int32, in units of input's and weight's scales, as kernels want it."""

    base: Any
    bias: "_Numbers"

    def __init__(self, layer: QuantisedLayer) -> None:
        super().__init__()
        self.before = _Rounding(layer.before)
        self.behind = _Rounding(layer.behind) if layer.behind is not None else nn.Identity()
        self.base = layer.base
        unit = weight_scale(self.base.weight, layer.bits)
        bias = self.base.bias
        if bias is not None:
            # beside weights next to nothing, whose unit is as small, a bias would not fit into 32 bits
            unit = torch.maximum(unit, bias.detach().abs() / (_LARGEST * self.before.scale))
            self.bias = _Numbers(bias, unit * self.before.scale, torch.int32)
        self.weight = _Numbers(layer.weight(), unit, torch.int8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        weights = {"weight": self.weight()} | ({} if self.base.bias is None else {"bias": self.bias()})
        y: Tensor = self.behind(functional_call(self.base, weights, (x,)))
        return y


class _IntegerLinear(nn.Module):
    """A linear layer whose weights are int8, and lie as a product of matrices reads them."""

    def __init__(self, layer: QuantisedLayer) -> None:
        super().__init__()
        self.before = _Rounding(layer.before)
        unit = weight_scale(layer.base.weight, layer.bits)
        self.weight = _Numbers(layer.weight().T, unit, torch.int8, axis=1)
        self.bias: Any = layer.base.bias

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.before(x) @ self.weight()
        return y if self.bias is None else y + self.bias


class _Numbers(nn.Module):
    """A constant of integers, with a unit for each channel.

    Args:
        values: multiples of the units.
        unit: (R,).
        dtype: of the integers.
        axis: of the channels.
    """

    numbers: Tensor
    unit: Tensor
    zero: Tensor

    def __init__(self, values: Tensor, unit: Tensor, dtype: torch.dtype, axis: int = 0) -> None:
        super().__init__()
        shape = [-1 if i == axis else 1 for i in range(values.ndim)]
        self.axis = axis
        self.register_buffer("numbers", (values.detach().double() / unit.double().view(shape)).round().to(dtype))
        self.register_buffer("unit", unit.detach())
        self.register_buffer("zero", torch.zeros_like(unit, dtype=dtype))

    def forward(self) -> Tensor:
        return _dequantised(self.numbers, self.unit, self.zero, self.axis)


def _dequantised(numbers: Tensor, scale: Tensor, zero: Tensor, axis: int | None = None) -> Tensor:
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    found: Tensor = torch.onnx.ops.symbolic(
        "DequantizeLinear", (numbers, scale, zero), attributes, dtype=torch.float32, shape=numbers.shape
    )
    return found
