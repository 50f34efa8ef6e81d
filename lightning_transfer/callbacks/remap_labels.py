"""Puts into force what a label mapping learns from the training data."""

from collections.abc import Iterator
from copy import copy
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_transfer.mappings.base import LabelMapping
from lightning_transfer.parts import Part


class RemapLabels(Part, Callback):
    """Estimates `model.mapping` before the first epoch, and fits it anew after the last training batch of each epoch.

    The estimate takes one more pass over the training images, as the first epoch prepares them, through the model as it is then; a
    mapping that a checkpoint brings is kept. Later the answers of the epoch's own steps count, for which the module hands them to
    `observe`. Validation and checkpoints of an epoch have the mapping that it led to, so that a resumed training equals an
    uninterrupted one; what a checkpoint within an epoch has counted so far is not in it.

    Raises:
        ValueError: before training, for a model without a mapping, one that does not use it, or targets of several labels where the
            mapping counts one.
    """

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        # first, so that what an average or a checkpoint takes from a step is with the mapping that the step led to
        others = [callback for callback in trainer.callbacks if callback is not self]  # type: ignore[attr-defined]
        trainer.callbacks = [self, *others]  # type: ignore[attr-defined]

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        if not isinstance(getattr(pl_module.model, "mapping", None), LabelMapping):
            raise ValueError(
                f"RemapLabels found no label mapping in {type(pl_module.model).__name__}; leave it out, or train a VisualPromptModule"
            )
        task = getattr(pl_module, "task", "classification")
        if task != "classification" and self._mapping(pl_module).needs_data():
            raise ValueError(
                f"mapping={type(self._mapping(pl_module)).__name__} counts one class an image, but the targets are task={task}; "
                "SemanticMapping and LinearMapping count none"
            )

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self._mapping(pl_module).needs_data():
            self._estimate(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._mapping(pl_module).forget()  # a training before this one may have been broken off

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.is_last_batch:
            self._mapping(pl_module).refit()

    @staticmethod
    def _mapping(pl_module: Any) -> LabelMapping:
        mapping: LabelMapping = pl_module.model.mapping
        return mapping

    def _estimate(self, trainer: Trainer, pl_module: Any) -> None:
        mapping, count = self._mapping(pl_module), 0
        mapping.forget()
        seen: list[Tensor] = []
        hook = mapping.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
        device = pl_module.device
        try:  # what is drawn here leaves no trace: a training that is resumed will not draw it
            with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
                for batch in _training_batches(trainer):
                    if count == 0:
                        pl_module._check(batch)  # as a training does with its first batch, which this one comes before
                    with trainer.precision_plugin.train_step_context():
                        # not by a call, which would compile the model with the hook in it
                        pl_module.model.forward(batch.image.contiguous(memory_format=pl_module.memory_format))
                    if not seen:
                        raise ValueError(
                            f"{type(pl_module.model).__name__} has a mapping that it does not use; its forward is to call it"
                        )
                    mapping.observe(seen.pop(), batch.target)
                    count += len(batch.target)
                    seen.clear()
        finally:
            hook.remove()
        mapping.refit()
        rank_zero_info(f"{type(mapping).__name__} was estimated from {count:,} training images (of this process)")


def _training_batches(trainer: Trainer) -> Iterator[Any]:
    """One epoch as it will be, by a loader of its own: Lightning has begun to read the training's already."""
    loader: Any = trainer.train_dataloader
    if isinstance(loader, DataLoader):
        loader = copy(loader)
        loader._iterator = None  # persistent workers of the other one
    batches = trainer.num_training_batches
    for batch in islice(loader, None if batches == float("inf") else int(batches)):
        yield trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
