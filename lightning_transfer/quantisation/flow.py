"""Which module reads what which module wrote, seen while a model looks at an image."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

Place = tuple[int, int]  # a tensor, and how often it had been written to in place


class Flow(NamedTuple):
    """What was seen.

    Attributes:
        calls: how often each module was called.
        written: what each module returned last.
        readers: of each tensor, the modules that were given it; None for any function beside them.
    """

    calls: Counter[nn.Module]
    written: dict[nn.Module, Place]
    readers: dict[Place, list[nn.Module | None]]

    def only_reader(self, module: nn.Module) -> nn.Module | None:
        """The module that alone reads what another one, called once, returned; none if there is no such."""
        if self.calls[module] != 1 or module not in self.written:
            return None
        readers = self.readers.get(self.written[module], [])
        return readers[0] if len(readers) == 1 else None


def watch(model: nn.Module, image: Tensor, modules: Iterable[nn.Module]) -> Flow:
    """Run a model in evaluation mode and watch some of its modules, whatever happens within each of them.

    Args:
        model: left in the modes (training, evaluation) that it was in.
        image: (B, C, H, W).
        modules: of the model, with one tensor in and one out.
    """
    flow = Flow(Counter(), {}, {})
    modes = {module: module.training for module in model.modules()}
    watcher = _Watcher(flow)
    handles = [handle for module in modules for handle in watcher.hook(module)]
    try:
        with torch.no_grad(), watcher:
            model.eval()(image)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return flow


class _Watcher(TorchFunctionMode):
    """Notes who reads which tensor."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow
        self.within: list[nn.Module] = []
        self.kept: list[Tensor] = []  # a tensor that is gone would leave its number to another

    def hook(self, module: nn.Module) -> Sequence[Any]:
        return (
            module.register_forward_pre_hook(self._enter),
            module.register_forward_hook(self._leave),
        )

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not self.within:
            self.flow.calls[module] += 1
            self._read(self._places(inputs), module)
        self.within.append(module)

    def _leave(self, module: nn.Module, _: Any, output: Any) -> None:
        self.within.pop()
        if not self.within:
            for place in self._places(output)[:1]:
                self.flow.written[module] = place

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.within:
            return func(*args, **(kwargs or {}))
        read = self._places((args, kwargs))
        output = func(*args, **(kwargs or {}))
        if self._places(output):  # a shape, or another question
            self._read(read, None)
        return output

    def _read(self, places: Sequence[Place], module: nn.Module | None) -> None:
        for place in places:
            self.flow.readers.setdefault(place, []).append(module)

    def _places(self, values: Any) -> list[Place]:
        with torch._C.DisableTorchFunction():
            found = [value for value in tree_leaves(values) if isinstance(value, Tensor)]
            self.kept += found
            return [(id(value), value._version) for value in found]
