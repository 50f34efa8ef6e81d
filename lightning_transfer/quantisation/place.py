"""Where a network rounds, such that integer kernels can compute its layers."""

from collections.abc import Mapping

from torch import Tensor, nn

from lightning_transfer.quantisation.flow import Flow, watch
from lightning_transfer.quantisation.layer import QuantisedLayer, replace
from lightning_transfer.quantisation.rounding import ActivationQuantiser

_FUSED = (nn.ReLU, nn.ReLU6)  # kernels compute these along with a convolution


def place_quantisers(
    model: nn.Module, image: Tensor, bits: Mapping[str, tuple[int, int]], batches: int
) -> dict[str, nn.Module]:
    """Put quantisers in front of layers, and behind convolutions whose output goes elsewhere than straight into a layer, in place.

    A convolution of integers returns integers: what it writes must be rounded. The next layer does so where it alone reads it, through
    a ReLU or not; else there is a quantiser of its own, behind the ReLU if there is one. A linear layer can return floating-point
    numbers.

    Args:
        model: the network.
        image: (B, C, H, W), for the model to be watched with.
        bits: of weights and activations, by the name of each layer.
        batches: after which ranges are fixed.

    Returns:
        layers among those named that the model never calls, and that are left as they are

    Reference:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018,
        section 3.
    """
    named = {name: model.get_submodule(name) for name in bits}
    names = {module: name for name, module in model.named_modules()}
    activations = [module for module in names if isinstance(module, _FUSED)]
    flow = watch(model, image, [*named.values(), *activations])
    layers = {name: layer for name, layer in named.items() if flow.calls[layer]}
    for name, layer in layers.items():
        weight_bits, activation_bits = bits[name]
        end = _end(flow, layer) if isinstance(layer, nn.Conv2d) else None
        behind = None
        if end is not None and flow.only_reader(end) not in layers.values():
            behind = ActivationQuantiser(activation_bits, batches)
            if end is not layer:
                replace(model, names[end], nn.Sequential(end, behind))
                behind = None
        before = ActivationQuantiser(activation_bits, batches)
        replace(model, name, QuantisedLayer(layer, weight_bits, before, behind))
    return {name: layer for name, layer in named.items() if name not in layers}


def _end(flow: Flow, layer: nn.Module) -> nn.Module:
    """The layer, or the ReLU that alone reads its output and reads nothing else."""
    reader = flow.only_reader(layer)
    return reader if isinstance(reader, _FUSED) and flow.calls[reader] == 1 else layer
