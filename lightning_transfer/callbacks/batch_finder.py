"""Finds the largest batch that fits into memory, and trains with it."""

from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import BatchSizeFinder
from lightning.pytorch.utilities import rank_zero_info

from lightning_transfer.callbacks.global_batch import GlobalBatch
from lightning_transfer.parts import Part


class BatchFinder(Part, BatchSizeFinder):
    """Tries growing values of `data.batch_size` for a few steps each until memory does not suffice, and trains with the last that fitted.

    The training is the one that would start with this batch size: weights, optimiser, schedule and generators are as at the start.
    With `GlobalBatch` fewer batches are accumulated then. One device only, as Lightning's finder, whose arguments it takes.

    Deviation:
        From Lightning's `BatchSizeFinder`: optimiser and schedule are made anew afterwards, for the schedule counts steps, of which there
        are fewer with larger batches; and the search draws no random numbers from those of the training.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        devices = [trainer.strategy.root_device] if trainer.strategy.root_device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            super().on_fit_start(trainer, pl_module)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, GlobalBatch):
                callback.setup(trainer, pl_module, "fit")
        trainer.fit_loop._combined_loader = None  # the limit of batches may be another one
        trainer.fit_loop.setup_data()
        trainer.strategy.setup_optimizers(trainer)
        rank_zero_info(f"training goes on with --data.batch_size {trainer.datamodule.batch_size}")  # type: ignore[attr-defined]
