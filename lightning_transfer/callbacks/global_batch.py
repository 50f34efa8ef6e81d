"""Accumulates gradients so that a step sees a given number of images, whatever fits into memory and however many processes there are."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lightning_transfer.parts import Part


class GlobalBatch(Part, Callback):
    """Each optimiser step is taken on `size` images: data.batch_size x processes x accumulated batches.

    Steps are as many an epoch, over the same images, as with one process and data.batch_size=size: images beyond the last whole
    `size` are left out of an epoch. A training set smaller than `size` gives one step an epoch, by the mean over as many whole
    batches as it has. Batch norm sees the single batches.

    Args:
        size: images a step.

    Raises:
        ValueError: for a size that is no multiple of data.batch_size x processes, other accumulation beside it, or data without a
            batch size.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size={size} of GlobalBatch must be at least 1")
        self.size = size
        self.limit: int | float | None = None  # the trainer's own, of batches an epoch

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.teardown(trainer, pl_module, stage)
            self.accumulate(trainer)

    def accumulate(self, trainer: Trainer) -> None:
        """Set the trainer's accumulation by the datamodule's batch size, before the steps of the training are counted."""
        data: Any = getattr(trainer, "datamodule", None)
        if not hasattr(data, "batch_size") or not hasattr(data, "train_set"):
            raise ValueError("GlobalBatch needs a datamodule of images, whose batch_size it multiplies")
        if hasattr(data, "images_a_batch"):
            raise ValueError(
                "GlobalBatch counts images, and batches of episodes have other sizes; leave it out, and set trainer.accumulate_grad_batches"
            )
        if trainer.accumulate_grad_batches != 1:
            raise ValueError(
                f"GlobalBatch chooses how many batches are accumulated; leave out trainer.accumulate_grad_batches="
                f"{trainer.accumulate_grad_batches}"
            )
        once = data.batch_size * trainer.world_size
        if self.size % once:
            below, above = self.size // once * once, (self.size // once + 1) * once
            near = f"{below} or {above}" if below else above
            raise ValueError(
                f"size={self.size} of GlobalBatch is no multiple of data.batch_size x processes = {data.batch_size} x "
                f"{trainer.world_size}; {near} is, or take another data.batch_size"
            )
        limit = trainer.limit_train_batches
        batches = max(1, len(data.train_set) // once)
        batches = min(limit, batches) if isinstance(limit, int) else int(batches * limit)
        if not batches:
            return
        self.limit = limit
        trainer.accumulate_grad_batches = min(self.size // once, batches)
        trainer.limit_train_batches = batches - batches % trainer.accumulate_grad_batches
        rank_zero_info(
            f"a step is taken on {trainer.accumulate_grad_batches} batches of {data.batch_size} images from each of "
            f"{trainer.world_size} processes"
        )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.limit is not None:
            trainer.accumulate_grad_batches, trainer.limit_train_batches, self.limit = 1, self.limit, None
