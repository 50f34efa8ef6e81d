"""Compressing a network layer by layer, in bounded memory."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from lightning_transfer.compression.base import Compression, in_turn
from lightning_transfer.compression.gather import hessians, order_of_calls
from lightning_transfer.compression.hessian import Hessian
from lightning_transfer.compression.kept import KeptLayers
from lightning_transfer.compression.rows import LayerRows, neighbours, set_rows, weight_rows

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

    Returns:
        one row a layer, in the order of the forward pass

    Raises:
        ValueError: if there are no images, or a layer is never called.
    """
    if inputs not in ("dense", "compressed"):
        raise ValueError(f"inputs={inputs!r} must be dense or compressed")
    if gigabytes <= 0:
        raise ValueError(f"gigabytes={gigabytes} must be positive")
    weights = {name: weight_rows(layer) for name, layer in layers.items()}
    plans = [compression.plan(weights) for compression in compressions]
    looks = any(compression.needs_inputs for compression in compressions)
    sizes = {name: 8 * rows.shape[0] * rows.shape[2] ** 2 for name, rows in weights.items()}
    weights.clear()
    calls = _calls(model, layers, batches) if looks else [*layers]
    source = deepcopy(model) if looks and inputs == "dense" else model
    limit = gigabytes * 1e9 if inputs == "dense" or not looks else 0
    rows = []
    for names in _groups(calls, sizes, limit):
        todo = [name for name in names if kept is None or kept.read(name) is None]
        seen: Mapping[str, Hessian] = {}
        if looks and todo:
            wanted = {name: source.get_submodule(name) for name in todo}
            seen = hessians(source, wanted, sum(calls.count(name) for name in todo), batches, _device(model))
        for name in names:
            planned = [plan[name] for plan in plans]
            rows.append(_compress(name, layers[name], compressions, planned, seen.get(name), kept))
            if tell is not None:
                tell(rows[-1])
    return rows


def _compress(
    name: str,
    layer: nn.Module,
    compressions: Sequence[Compression],
    planned: Sequence[Any],
    hessian: Hessian | None,
    kept: KeptLayers | None,
) -> CompressedLayer:
    done = kept.read(name) if kept is not None else None
    if done is not None:
        with torch.no_grad():
            layer.weight.copy_(done[0])  # type: ignore[operator]
        return CompressedLayer(**done[1])
    begun = time.perf_counter()
    weight = weight_rows(layer)
    matrix = weight.new_zeros(weight.shape[0], 0, 0) if hessian is None else hessian.matrix()
    known = LayerRows(name, weight, matrix, neighbours(layer))
    chosen = in_turn(compressions, known, planned)
    set_rows(layer, chosen)
    error = None
    if hessian is not None:
        error = known.error(chosen) / max(known.error(torch.zeros_like(weight)), 1e-300)
    bits = next((c.bits for c in reversed(compressions) if c.bits is not None), None)
    zeros = int((chosen == 0).sum())
    row = CompressedLayer(name, chosen.numel(), zeros, bits, error, time.perf_counter() - begun)
    if kept is not None:
        kept.write(name, layer.weight, row._asdict())  # type: ignore[arg-type]
    return row


def _calls(model: nn.Module, layers: Mapping[str, nn.Module], batches: Iterable[Tensor]) -> list[str]:
    first = next(iter(batches), None)
    if first is None or len(first) == 0:
        raise ValueError("there are no calibration images; give data with a training split")
    calls = order_of_calls(model, layers, first.to(_device(model)))
    idle = [name for name in layers if name not in calls]
    if idle:
        raise ValueError(
            f"{', '.join(idle[:5])}: never called, so that no input tells what its weights do (its owner reads the weight itself, or "
            "leaves it out); name the layers that are by `targets`"
        )
    return calls


def _groups(calls: Sequence[str], sizes: Mapping[str, int], limit: float) -> Iterator[list[str]]:
    """Layers in the order of their first call, as many at once as fit under the limit, at least one."""
    group: list[str] = []
    for name in dict.fromkeys(calls):
        if group and sum(sizes[other] for other in (*group, name)) > limit:
            yield group
            group = []
        group.append(name)
    if group:
        yield group


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
