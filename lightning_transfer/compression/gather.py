"""Running a network over calibration images until the layers of interest have seen them all."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from lightning_transfer.compression.hessian import Hessian


class _Enough(Exception):  # noqa: N818  # nothing went wrong
    """Raised within a forward pass when what comes after it is of no interest."""


def order_of_calls(model: nn.Module, layers: Mapping[str, nn.Module], images: Tensor) -> list[str]:
    """Names of layers in the order in which a forward pass calls them, as often as it does; in evaluation mode."""
    calls: list[str] = []

    with _seen(layers, lambda name, _: calls.append(name)), torch.no_grad():
        model(images)
    return calls


def hessians(
    model: nn.Module, layers: Mapping[str, nn.Module], calls: int, batches: Iterable[Tensor], device: torch.device
) -> dict[str, Hessian]:
    """Gather the second moments of the inputs of some layers, in one pass over the images.

    Args:
        model: in evaluation mode, on the device.
        layers: of the model.
        calls: of these layers in a forward pass, after the last of which it is broken off.
        batches: images (B, C, H, W).
        device: where the model is.
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
                model(batch.to(device))
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
