"""Compressing a network layer by layer, in bounded memory."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from lightning_transfer.compression.base import Compression, Rounding, in_turn
from lightning_transfer.compression.gather import layer_rows, layers_in_order
from lightning_transfer.compression.kept import KeptLayers
from lightning_transfer.compression.rows import LayerRows, set_rows, weight_rows

Inputs = Literal["dense", "compressed"]


class CompressedLayer(NamedTuple):
    """What became of a layer.

    Attributes:
        name: within the network.
        weights: how many it has, without biases.
        zeros: how many of them are zero.
        bits: of a weight, if it was rounded.
        error: squared error of its output on the calibration images, as a share of the output's square; None if none was looked at.
        seconds: that it took, without the images.
    """

    name: str
    weights: int
    zeros: int
    bits: int | None
    error: float | None
    seconds: float


def compress_network(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    compressions: Sequence[Compression],
    batches: Iterable[Tensor],
    inputs: Inputs = "dense",
    gigabytes: float = 1.0,
    kept: KeptLayers | None = None,
    tell: Callable[[CompressedLayer], None] | None = None,
    plans: Sequence[Mapping[str, Any]] | None = None,
) -> list[CompressedLayer]:
    """Compress layers in place, one after the other.

    Images pass through the network as often as it takes for the second moments of the layers' inputs to fit into memory; one layer's
    have to. The result does not depend on how many passes there are.

    Args:
        model: in evaluation mode.
        layers: of the model, by name.
        compressions: applied to each layer in turn.
        batches: calibration images (B, C, H, W), the same ones whenever they are gone through.
        inputs: whether layers see what the network gave them before, or what the compressed layers in front of them put out, one pass
            for each layer.
        gigabytes: of second moments at a time, in 10⁹ bytes.
        kept: layers that are done, where some may be.
        tell: called after each layer.
        plans: of each compression for each layer; as the compressions themselves have it if not given.

    Returns:
        one row a layer, in the order of the forward pass

    Raises:
        ValueError: if there are no images, or a layer is never called.
    """
    if inputs not in ("dense", "compressed"):
        raise ValueError(f"inputs={inputs!r} must be dense or compressed")
    if gigabytes <= 0:
        raise ValueError(f"gigabytes={gigabytes} must be positive")
    if plans is None:
        weights = {name: weight_rows(layer) for name, layer in layers.items()}
        plans = [compression.plan(weights) for compression in compressions]
        weights.clear()
    known: Iterable[LayerRows]
    if any(compression.needs_inputs for compression in compressions):
        source, at_once = (deepcopy(model), gigabytes) if inputs == "dense" else (model, 0.0)
        known = layers_in_order(source, [*layers], batches, at_once, lambda name: _done(kept, name) is not None)
    else:
        known = (layer_rows(name, layer) for name, layer in layers.items())
    rows = []
    for layer in known:
        planned = [plan[layer.name] for plan in plans]
        rows.append(_compress(layer, layers[layer.name], compressions, planned, kept))
        if tell is not None:
            tell(rows[-1])
    return rows


def _done(kept: KeptLayers | None, name: str) -> tuple[Tensor, dict[str, Any]] | None:
    return None if kept is None else kept.read(name)


def _compress(
    known: LayerRows,
    layer: nn.Module,
    compressions: Sequence[Compression],
    planned: Sequence[Any],
    kept: KeptLayers | None,
) -> CompressedLayer:
    done = _done(kept, known.name)
    if done is not None:
        with torch.no_grad():
            layer.weight.copy_(done[0])  # type: ignore[operator]
        return CompressedLayer(**done[1])
    begun = time.perf_counter()
    chosen = in_turn(compressions, known, planned)
    set_rows(layer, chosen)
    error = known.share(chosen) if known.hessian.numel() else None
    rounded = [
        plan for compression, plan in zip(compressions, planned, strict=True) if isinstance(compression, Rounding)
    ]
    zeros, bits = int((chosen == 0).sum()), rounded[-1] if rounded else None
    row = CompressedLayer(known.name, chosen.numel(), zeros, bits, error, time.perf_counter() - begun)
    if kept is not None:
        kept.write(known.name, layer.weight, row._asdict())  # type: ignore[arg-type]
    return row
