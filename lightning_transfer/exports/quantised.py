"""A network trained with `FakeQuantise` as ONNX has it: integers, and nodes that say which numbers they stand for."""

from collections.abc import Callable
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
    return _with(model, lambda layer: layer.base, lambda _: nn.Identity())


def in_constants(model: Deployed) -> Deployed:
    """A copy of a quantised model that rounds by constants, with weights that are rounded already, to be traced by torch.

    Raises:
        ValueError: if a layer's ranges were never found.
    """
    _require_ranges(model)
    return _with(model, _rounded, _Constants)


def in_integers(model: Deployed) -> Deployed:
    """A copy of a quantised model that holds integers, to be traced for ONNX.

    Raises:
        ValueError: if a layer's ranges were never found, or for a version of torch that cannot write such nodes.
    """
    if not hasattr(torch.onnx, "ops"):
        raise ValueError(f"a quantised model is written as ONNX by torch 2.8 and newer; this is {torch.__version__}")
    _require_ranges(model)
    return _with(model, _IntegerLayer, _Rounding)


def _with(
    model: Deployed, layer: Callable[[QuantisedLayer], nn.Module], rounding: Callable[[ActivationQuantiser], nn.Module]
) -> Deployed:
    """A copy with others in the place of its layers, and of the quantisers that are left then."""
    copy = deepcopy(model)
    for name, module in quantised_layers(copy.model).items():
        replace(copy.model, name, layer(module))
    for name, module in [*copy.model.named_modules()]:
        if isinstance(module, ActivationQuantiser):
            replace(copy.model, name, rounding(module))
    return copy


def _require_ranges(model: Deployed) -> None:
    for name, module in model.model.named_modules():
        if isinstance(module, ActivationQuantiser) and module.seen == 0:
            raise ValueError(
                f"{name} has no range, since no training batch came by: train with FakeQuantise, and freeze no layer that it rounds"
            )


@torch.no_grad()
def _rounded(layer: QuantisedLayer) -> nn.Sequential:
    """A layer that keeps its rounded weights, between its quantisers."""
    layer.base.weight.copy_(layer.rounded_weight())
    return nn.Sequential(layer.before, layer.base, *([] if layer.behind is None else [layer.behind]))


class _Constants(nn.Module):
    """Rounding in plain arithmetic, since torch cannot follow its own operator."""

    def __init__(self, quantiser: ActivationQuantiser) -> None:
        super().__init__()
        scale, zero = quantiser.grid()
        self.scale, self.zero, self.top = float(scale), int(zero), quantiser.top

    def forward(self, x: Tensor) -> Tensor:
        numbers = (x / self.scale + self.zero).round().clamp(0, self.top)
        return (numbers - self.zero) * self.scale


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


class _IntegerLayer(nn.Module):
    """A layer whose weights are int8 and whose bias is int32, in units of input's and weight's scales, as kernels want it."""

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
        self.weight = _Numbers(layer.rounded_weight(), unit, torch.int8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        weights = {"weight": self.weight()} | ({} if self.base.bias is None else {"bias": self.bias()})
        y: Tensor = self.behind(functional_call(self.base, weights, (x,)))
        return y


class _Numbers(nn.Module):
    """A constant of integers, with a unit for each of its first dimension.

    Args:
        values: (R, ...) multiples of the units.
        unit: (R,).
        dtype: of the integers.
    """

    numbers: Tensor
    unit: Tensor
    zero: Tensor

    def __init__(self, values: Tensor, unit: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        units = unit.double().view(-1, *[1] * (values.ndim - 1))
        self.register_buffer("numbers", (values.detach().double() / units).round().to(dtype))
        self.register_buffer("unit", unit.detach())
        self.register_buffer("zero", torch.zeros_like(unit, dtype=dtype))

    def forward(self) -> Tensor:
        return _dequantised(self.numbers, self.unit, self.zero, {"axis": 0})


def _dequantised(numbers: Tensor, scale: Tensor, zero: Tensor, attributes: dict[str, Any] | None = None) -> Tensor:
    found: Tensor = torch.onnx.ops.symbolic(
        "DequantizeLinear", (numbers, scale, zero), attributes or {}, dtype=torch.float32, shape=numbers.shape
    )
    return found
