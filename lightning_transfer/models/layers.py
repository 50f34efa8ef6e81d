"""What a network computes on its way: the inputs and outputs of modules, by their names."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


def find_layer(model: nn.Module, layer: str, whose: str) -> nn.Module:
    """Find a module by its path.

    Args:
        model: where to look.
        layer: `PATH`, `PATH:output` or `PATH:input`.
        whose: student or teacher, for the error.

    Raises:
        ValueError: for a path that does not exist, with the nearest, or another word after the colon.
    """
    path, _, side = layer.partition(":")
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if side not in ("", "input", "output"):
        raise ValueError(f"layer {layer!r} of the {whose}: after the colon comes input or output, not {side!r}")
    if not path or path not in modules:
        near = difflib.get_close_matches(path, modules, n=3, cutoff=0.5) or [name for name, _ in model.named_children()]
        raise ValueError(f"the {whose} has no layer {path!r}; nearest names: {', '.join(near)}")
    return modules[path]


@contextmanager
def recorded(model: nn.Module, layers: Iterable[str], whose: str) -> Iterator[dict[str, Tensor]]:
    """Within this context the model notes what passes the named layers, in the dictionary that is handed out; nothing stays behind.

    Of a module that is called several times the last call counts.

    Args:
        model: student or teacher.
        layers: as for `find_layer`.
        whose: student or teacher, for the error.

    Raises:
        ValueError: for a layer that does not exist, was not called, or passes something else than a tensor.
    """
    found: dict[str, Any] = {}
    layers = list(dict.fromkeys(layers))
    handles = [_note(find_layer(model, layer, whose), layer, found) for layer in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
    for layer in layers:
        if not isinstance(found.get(layer), Tensor) or found[layer].ndim < 2:
            kind = type(found[layer]).__name__ if layer in found else "nothing: it was not called"
            raise ValueError(
                f"layer {layer!r} of the {whose} passes {kind}, not a tensor (B, ...); name a layer within it"
            )


def _note(module: nn.Module, layer: str, found: dict[str, Any]) -> Any:
    def note_input(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        found[layer] = arguments[0] if arguments else None

    def note_output(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        found[layer] = output

    if layer.endswith(":input"):
        return module.register_forward_pre_hook(note_input)
    return module.register_forward_hook(note_output)
