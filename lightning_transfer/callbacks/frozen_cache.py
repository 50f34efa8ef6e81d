"""Runs what is frozen below the first trained layer once an image, not once an image and epoch."""

import warnings
from collections.abc import Sequence, Sized
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

from lightning_transfer.callbacks.frozen_prefix import FrozenPrefix
from lightning_transfer.callbacks.phases import Phases
from lightning_transfer.data.datasets import ImageDataset
from lightning_transfer.hashes import checksums
from lightning_transfer.parts import Part


class FrozenCache(Part, Callback):
    """Keeps the output of the last frozen module below the first trained one for each training image, and skips those modules later.

    Training computes what it would without the cache. That wants images that are the same in every epoch: no random transform, no
    mixing; each image is compared with its first occurrence by a checksum, and the first stored outputs that are used are computed
    again beforehand. Where anything differs, a warning says so and training goes on without the cache. Whenever other
    parameters are frozen (`Phases`) the cache starts afresh; in phases without frozen layers at the bottom it rests.

    The images are told apart by `batch.name`. A batch is skipped once all of its images are known: from the second epoch on, and with
    several processes, each of which keeps what it met, after as many epochs more as it takes one to meet them all. Validation
    computes everything.

    Args:
        max_gigabytes: largest size of the cache in each process's memory, in 10⁹ bytes.

    Raises:
        ValueError: before training, for a random transform, a compiled model, batches without names, nothing frozen below the first
            trained layer, or outputs larger than allowed; at the first step of a module that calls its model's parts one by one.
    """

    def __init__(self, max_gigabytes: float = 4.0) -> None:
        if max_gigabytes <= 0:
            raise ValueError(f"max_gigabytes={max_gigabytes} of FrozenCache must be positive")
        self.max_gigabytes = max_gigabytes
        self._forget()

    def _forget(self) -> None:
        self.prefix: FrozenPrefix | None = None
        self.frozen: tuple[bool, ...] | None = None
        self.rows: dict[str, tuple[int, tuple[Tensor, ...]]] = {}  # checksum of the image, and its part of each output
        self.layouts: dict[torch.Size, tuple[TreeSpec, list[tuple[int, ...]]]] = {}  # by the images' shape
        self.compared = False
        self.hooks: list[Any] = []

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._forget()
        if getattr(pl_module, "compile_model", False):
            raise ValueError("FrozenCache skips modules, which a compiled model has no longer; set model.compile=false")
        images = getattr(getattr(trainer, "datamodule", None), "train_set", None)
        if isinstance(images, ImageDataset) and images.augmentations != 1 and images.is_random():
            raise ValueError(
                "FrozenCache needs training images that are the same in every epoch, but data.train_transform="
                f"{type(images.transform).__name__} draws at random; set it to EvalTransform, or data.augmentations=1, or leave the cache out"
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        names = getattr(batch, "name", ())
        if not names:
            raise ValueError("FrozenCache tells images apart by batch.name, but the batches have none")

        def before(
            model: nn.Module, arguments: tuple[Any, ...]
        ) -> None:  # here all callbacks have frozen what they freeze
            self._before(trainer, model, arguments[0], names)

        self.hooks.append(pl_module.model.register_forward_pre_hook(before))

    def _before(self, trainer: Trainer, model: nn.Module, image: Tensor, names: Sequence[str]) -> None:
        frozen = tuple(not parameter.requires_grad for parameter in model.parameters())
        if frozen != self.frozen:
            self._enter(trainer, model, image, frozen)
        if self.prefix is None:
            return
        self.prefix.restore()  # if the model is called twice in a step
        sums: list[int] = checksums(image).tolist()
        known = [name in self.rows for name in names]
        other = [n for n, s, k in zip(names, sums, known, strict=True) if k and self.rows[n][0] != s]
        if other:
            self._stop(
                f"image {other[0]!r} is another one than in an earlier epoch; is it transformed at random, or mixed?"
            )
        elif all(known) and self.compared and self.prefix.knows(image.shape):
            self.prefix.skip(image.shape, self._gather(names, image))
        else:
            self.prefix.watch(image.shape, lambda output: self._see(output, image.shape, names, sums))

    def _enter(self, trainer: Trainer, model: nn.Module, image: Tensor, frozen: tuple[bool, ...]) -> None:
        first, hooks = self.frozen is None, self.hooks
        self._forget()
        self.frozen, self.hooks = frozen, hooks
        prefix = FrozenPrefix(model, image)
        phased = any(isinstance(callback, Phases) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        if not prefix.modules and not phased:
            raise ValueError(
                "FrozenCache found no two frozen layers below the first one that trains and that nothing above bypasses; freeze more "
                "from the bottom up, or leave the cache out"
            )
        if not prefix.modules:
            return
        size = sum(leaf[0].nbytes for leaf in tree_leaves(prefix.output)) * _count(trainer) / 1e9
        if size > self.max_gigabytes:
            problem = f"the cache would take {size:.3g} GB, but max_gigabytes={self.max_gigabytes:g}"
            if first:
                raise ValueError(
                    f"FrozenCache: {problem}; raise it if each process has that much, or leave the cache out"
                )
            self._stop(problem)
            return
        name = next(name for name, module in model.named_modules() if module is prefix.modules[-1])
        prefix.output = None
        self.prefix = prefix
        rank_zero_info(f"frozen layers up to {name} run once an image; the cache will take {size:.2g} GB")

    def _see(self, output: Any, shape: torch.Size, names: Sequence[str], sums: list[int]) -> None:
        """Compare what is known, store what is not."""
        leaves, spec = tree_flatten(output)
        known = [i for i, name in enumerate(names) if name in self.rows]
        if known and not self.compared:
            stored = zip(*(self.rows[names[i]][1] for i in known), strict=True)
            if not all(_agree(torch.stack(rows), leaf[known]) for rows, leaf in zip(stored, leaves, strict=True)):
                self._stop("a frozen layer's output for an image is another one than in an earlier epoch")
                return
            self.compared = True
        missing = [i for i, name in enumerate(names) if name not in self.rows]
        if missing:
            self.layouts[shape[1:]] = spec, [_strides(leaf) for leaf in leaves]
            parts = zip(*(leaf.detach()[missing].cpu().unbind() for leaf in leaves), strict=True)
            for i, rows in zip(missing, parts, strict=True):
                self.rows[names[i]] = sums[i], rows

    def _gather(self, names: Sequence[str], image: Tensor) -> Any:
        spec, strides = self.layouts[image.shape[1:]]
        leaves = []
        for rows, stride in zip(zip(*(self.rows[name][1] for name in names), strict=True), strides, strict=True):
            # laid out as it was: another layout may mean another algorithm, and other last bits
            leaf = torch.empty_strided((len(rows), *rows[0].shape), stride, dtype=rows[0].dtype)
            leaves.append(torch.stack(rows, out=leaf).to(image.device))
        return tree_unflatten(leaves, spec)

    def _stop(self, reason: str) -> None:
        if self.prefix is not None:
            self.prefix.restore()
        self.prefix, self.rows = None, {}
        warnings.warn(f"FrozenCache: {reason}; training goes on without the cache", stacklevel=2)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._leave_as_it_was()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._leave_as_it_was()  # where a step had no loss, and so no backward
        if self.frozen is None:
            raise ValueError(
                f"FrozenCache keeps what runs when the model sees images as a whole, and {type(pl_module).__name__} calls its parts one by "
                "one; leave the cache out (ImageTextModule computes a locked image tower's features once by itself)"
            )

    def on_exception(self, *_: Any) -> None:
        self._leave_as_it_was()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._leave_as_it_was()
        self._forget()

    def _leave_as_it_was(self) -> None:
        """No hook and no replaced `forward` is left where the model may be copied, saved or validated."""
        while self.hooks:
            self.hooks.pop().remove()
        if self.prefix is not None:
            self.prefix.restore()


def _count(trainer: Trainer) -> int:
    images = getattr(trainer.train_dataloader, "dataset", None)
    if not isinstance(images, Sized):
        raise ValueError(
            "FrozenCache keeps something of every training image, and needs a data set that knows how many"
        )
    return len(images)


def _agree(stored: Tensor, computed: Tensor) -> bool:
    """Whether two outputs are equal but for rounding, which may differ among batch sizes."""
    if not stored.is_floating_point():
        return torch.equal(stored, computed.cpu())
    computed = computed.detach().cpu()
    tolerance = torch.finfo(stored.dtype).eps ** 0.5 * computed.abs().max()
    return bool((stored - computed).abs().max() <= tolerance)


def _strides(leaf: Tensor) -> tuple[int, ...]:
    """Those of a dense tensor in this order of dimensions, which hold for any number of images."""
    strides = torch.empty_like(leaf).stride()
    return strides if strides[0] == leaf[0].numel() else torch.empty(leaf.shape, device="meta").stride()
