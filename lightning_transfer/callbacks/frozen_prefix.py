"""The part of a model that computes the same in every epoch: what is frozen below the first layer that trains."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map


class FrozenPrefix:
    """Frozen modules that a model calls before anything that trains; all can be skipped if the last one's output is known.

    Found by running the model twice on a batch, without a trace in buffers and generators: once to see in which order its modules are
    called and from where on outputs need gradients; once with NaN in place of all outputs but the last one's. If a NaN comes through,
    something above reads a skipped output (a skip connection around the freeze point), and the prefix is cut one module earlier.

    Modules are the outermost ones that are wholly frozen or have no parameters. Those that draw random numbers, keep statistics or are
    called twice end the prefix.

    Args:
        model: in the mode in which it is trained.
        image: a batch.

    Attributes:
        modules: in the order of their calls; none if less than two frozen layers with weights lie below the first that trains.
        output: the last one's, for the batch.

    Shape:
        image (B, ...); every tensor of output (B, ...).
    """

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        self._outputs: dict[torch.Size, dict[nn.Module, Any]] = {}  # poisoned ones, by the shape of the images
        self._undo: list[Callable[[], None]] = []
        with _without_trace(model):
            called = _trace(model, image)
            while called and not (_one_row_an_image(called[-1][1], image) and self._suffices(model, image, called)):
                called.pop()
        self.modules = [module for module, _ in called] if _layers(called) > 1 else []
        self.output = called[-1][1] if self.modules else None

    def _suffices(self, model: nn.Module, image: Tensor, called: list[tuple[nn.Module, Any]]) -> bool:
        """Whether the last output is all that the rest of the model reads of the prefix."""
        for module, output in called[:-1]:
            self._replace(module, _poisoned(output))
        self._replace(*called[-1])
        try:
            result = model.forward(image)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # written in place: a poisoned tensor has no memory of its own
            return False
        finally:
            self.restore()
        return all(bool(tensor.isfinite().all()) for tensor in tree_leaves(result) if isinstance(tensor, Tensor))

    def knows(self, shape: torch.Size) -> bool:
        """Whether a batch of this shape was watched, so that one can be skipped."""
        return shape in self._outputs

    def watch(self, shape: torch.Size, see: Callable[[Any], None]) -> None:
        """Until `restore`, let the modules run and show the last one's output."""
        outputs = self._outputs.setdefault(shape, {})

        def note(module: nn.Module, _: Any, output: Any) -> None:
            outputs.setdefault(module, _poisoned(output))

        for module in self.modules[:-1]:
            self._undo.append(module.register_forward_hook(note).remove)
        self._undo.append(self.modules[-1].register_forward_hook(lambda *call: see(call[2])).remove)

    def skip(self, shape: torch.Size, output: Any) -> None:
        """Until `restore`, run none of the modules: the last one returns `output`, the others NaN in tensors without memory."""
        for module in self.modules[:-1]:
            self._replace(module, self._outputs[shape][module])
        self._replace(self.modules[-1], output)

    def _replace(self, module: nn.Module, output: Any) -> None:
        before = module.__dict__.get("forward")  # the class's, unless somebody else has replaced it
        module.__dict__["forward"] = lambda *_, **__: output
        self._undo.append(lambda: _put_back(module, before))

    def restore(self) -> None:
        """Leave the modules as they were."""
        while self._undo:
            self._undo.pop()()


def _put_back(module: nn.Module, forward: Any) -> None:
    if forward is None:
        del module.__dict__["forward"]
    else:
        module.__dict__["forward"] = forward


def _trace(model: nn.Module, image: Tensor) -> list[tuple[nn.Module, Any]]:
    """Frozen modules called before anything that trains or draws, the outermost ones, with their outputs."""
    frozen = {module for module in model.modules() if not any(p.requires_grad for p in module.parameters())}
    before = _generator_state(image.device)
    calls: Counter[nn.Module] = Counter()
    called: list[tuple[nn.Module, Any]] = []
    depth, over = 0, False  # of frozen modules within one another

    def enter(module: nn.Module, _: Any) -> None:
        nonlocal depth
        depth += module in frozen

    def leave(module: nn.Module, _: Any, output: Any) -> None:
        nonlocal depth, over
        depth -= module in frozen
        calls[module] += 1
        over = over or any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(output))
        if module in frozen and depth == 0 and not over:
            over = _keeps_statistics(module) or not torch.equal(_generator_state(image.device), before)
            if not over:
                called.append((module, output))

    parts = list(model.modules())
    hooks = [hook for m in parts for hook in (m.register_forward_pre_hook(enter), m.register_forward_hook(leave))]
    try:
        model.forward(image)
    finally:
        for hook in hooks:
            hook.remove()
    once = [calls[module] == 1 for module, _ in called]
    return called[: once.index(False)] if False in once else called


def _keeps_statistics(module: nn.Module) -> bool:
    return any(part.training and next(part.buffers(recurse=False), None) is not None for part in module.modules())


def _layers(called: list[tuple[nn.Module, Any]]) -> int:
    parts = [part for module, _ in called for part in module.modules()]
    return sum(next(part.parameters(recurse=False), None) is not None for part in parts)


def _one_row_an_image(output: Any, image: Tensor) -> bool:
    return all(isinstance(leaf, Tensor) and leaf.shape[:1] == image.shape[:1] for leaf in tree_leaves(output))


def _poisoned(output: Any) -> Any:
    def poison(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.new_full((), float("nan") if leaf.is_floating_point() else 0).expand(leaf.shape)

    return tree_map(poison, output)


def _generator_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


@contextmanager
def _without_trace(model: nn.Module) -> Iterator[None]:
    """Put generators and buffers back, batch norm's statistics for example."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = {buffer.device for buffer in (*model.parameters(), *model.buffers()) if buffer.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)
