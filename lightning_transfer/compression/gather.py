"""Running a network over calibration images until the layers of interest have seen them all."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from lightning_transfer.compression.hessian import Hessian
from lightning_transfer.compression.rows import LayerRows, input_columns, neighbours, weight_rows


class _Enough(Exception):  # noqa: N818  # nothing went wrong
    """Raised within a forward pass when what comes after it is of no interest."""


def layers_in_order(
    model: nn.Module,
    names: Sequence[str],
    batches: Iterable[Tensor],
    gigabytes: float,
    done: Callable[[str], bool] | None = None,
) -> Iterator[LayerRows]:
    """Yield layers with the second moments of their inputs, in the order of their first call.

    Images pass through the network as often as it takes for the moments to fit into memory; one layer's have to. What is yielded does
    not depend on how many passes there are, as long as the model stays as it is.

    Args:
        model: that the images pass through, in evaluation mode.
        names: of layers of the model.
        batches: calibration images (B, C, H, W), the same ones whenever they are gone through.
        gigabytes: of second moments at a time, in 10⁹ bytes; with 0 images pass for each layer.
        done: whether a layer's moments are of no interest any more; it is yielded without.

    Raises:
        ValueError: if there are no images, or a layer is never called.
    """
    layers = {name: model.get_submodule(name) for name in names}
    calls = _calls(model, layers, batches)
    shapes = {name: weight_rows(layer).shape for name, layer in layers.items()}
    sizes = {name: 8e-9 * groups * columns**2 for name, (groups, _, columns) in shapes.items()}
    for group in _groups(calls, sizes, gigabytes):
        wanted = {name: layers[name] for name in group if done is None or not done(name)}
        found = _hessians(model, wanted, sum(calls.count(name) for name in wanted), batches) if wanted else {}
        for name in group:
            yield layer_rows(name, layers[name], found.get(name))


def layer_rows(name: str, layer: nn.Module, seen: Hessian | None = None) -> LayerRows:
    """What there is to know of a layer; its Hessian is empty where no input was seen."""
    weight = weight_rows(layer)
    matrix = weight.new_zeros(len(weight), 0, 0) if seen is None else seen.matrix()
    return LayerRows(name, weight, matrix, neighbours(layer))


def positions(model: nn.Module, names: Sequence[str], batches: Iterable[Tensor]) -> dict[str, int]:
    """At how many positions of an image each layer multiplies its weights with inputs, over all of its calls."""
    layers = {name: model.get_submodule(name) for name in names}
    found = dict.fromkeys(names, 0)

    def count(name: str, inputs: Tensor) -> None:
        found[name] += sum(columns.shape[2] for columns in input_columns(layers[name], inputs))

    with _seen(layers, count), torch.no_grad():
        model(_first(batches)[:1].to(_device(model)))
    return found


def _calls(model: nn.Module, layers: Mapping[str, nn.Module], batches: Iterable[Tensor]) -> list[str]:
    """Names of layers in the order in which a forward pass calls them, as often as it does."""
    calls: list[str] = []
    with _seen(layers, lambda name, _: calls.append(name)), torch.no_grad():
        model(_first(batches).to(_device(model)))
    idle = [name for name in layers if name not in calls]
    if idle:
        raise ValueError(
            f"{', '.join(idle[:5])}: never called, so that no input tells what its weights do (its owner reads the weight itself, or "
            "leaves it out); name the layers that are by `targets`"
        )
    return calls


def _first(batches: Iterable[Tensor]) -> Tensor:
    first = next(iter(batches), None)
    if first is None or len(first) == 0:
        raise ValueError("there are no calibration images; give data with a training split")
    return first


def _groups(calls: Sequence[str], sizes: Mapping[str, float], limit: float) -> Iterator[list[str]]:
    """Layers in the order of their first call, as many at once as fit under the limit, at least one."""
    group: list[str] = []
    for name in dict.fromkeys(calls):
        if group and sum(sizes[other] for other in (*group, name)) > limit:
            yield group
            group = []
        group.append(name)
    if group:
        yield group


def _hessians(
    model: nn.Module, layers: Mapping[str, nn.Module], calls: int, batches: Iterable[Tensor]
) -> dict[str, Hessian]:
    """Gather the second moments of the inputs of some layers, in one pass over the images.

    Args:
        model: in evaluation mode.
        layers: of the model.
        calls: of these layers in a forward pass, after the last of which it is broken off.
        batches: images (B, C, H, W).
    """
    found = {name: Hessian(layer) for name, layer in layers.items()}
    left = calls

    def add(name: str, inputs: Tensor) -> None:
        nonlocal left
        found[name].add(inputs)
        left -= 1
        if left == 0:
            raise _Enough

    with _seen(layers, add), torch.no_grad():
        for batch in batches:
            left = calls
            with suppress(_Enough):
                model(batch.to(_device(model)))
    return found


@contextmanager
def _seen(layers: Mapping[str, nn.Module], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Within this context each of these layers shows its input before it computes."""

    def hook(name: str) -> Any:
        return lambda _, inputs: see(name, inputs[0])

    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
