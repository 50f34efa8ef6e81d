"""A linear layer or convolution that computes with rounded weights and activations."""

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from lightning_transfer.quantisation.rounding import ActivationQuantiser, quantise_weight


class QuantisedLayer(nn.Module):
    """A layer whose inputs and weights are rounded, and its output where nothing else would round it.

    Args:
        base: the layer; it keeps weights that are not rounded, and these are trained.
        bits: of a weight.
        before: rounds its input.
        behind: rounds its output; none where the next layer does.

    Shape:
        as of the layer
    """

    base: Any

    def __init__(
        self, base: nn.Module, bits: int, before: ActivationQuantiser, behind: ActivationQuantiser | None = None
    ) -> None:
        super().__init__()
        self.base = base
        self.bits = bits
        self.before = before
        self.behind = behind

    def rounded_weight(self) -> Tensor:
        """The rounded weights, as the layer computes with them."""
        return quantise_weight(self.base.weight, self.bits)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = functional_call(self.base, {"weight": self.rounded_weight()}, (self.before(x),))
        return y if self.behind is None else self.behind(y)


def replace(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the one of this name."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def quantised_layers(model: nn.Module) -> dict[str, Any]:
    """All of a model's, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, QuantisedLayer)}
