"""From prepared samples to batches: in an order that survives a resumed training, and without what cannot be read."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, DistributedSampler, SequentialSampler

from lightning_transfer.checkpoint import check_hyperparameters, import_class, read_checkpoint
from lightning_transfer.data.datasets import collate as collate_images
from lightning_transfer.data.sampling import ExactBatches, ShuffledBatches
from lightning_transfer.data.skip_log import SkipLog


class Loaders(LightningDataModule):
    """Loads the sets that `setup` has prepared: `train`, `val`, `predict`, and all others in the test.

    Attributes:
        batch_size: samples a step and process.
        num_workers: processes that load samples; 0 loads in this one.
        on_error: whether an unreadable file stops the run, or is left out.
        samples: what the samples are, for messages.
        example: how to say on the command line what data there is, for messages.
        embedded_first: names of the sets that a module lets give out embeddings before it reads them, which `setup` forgets: these need no
            workers.
    """

    batch_size: int
    num_workers: int = 0
    on_error: Literal["raise", "skip"] = "raise"
    samples: ClassVar[str] = "images"
    example: ClassVar[str] = "--data FolderData --data.root FOLDER --data.image_size 224"
    embedded_first: frozenset[str] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self._sets: dict[str, Any] = {}
        self._first_epoch = 0
        self._log: SkipLog | None = None

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning wraps its own in a descriptor
        cls, checkpoint_path: str | Path, **kwargs: Any
    ) -> Any:
        """Rebuild the datamodule that a checkpoint was trained on, of whatever class it is.

        Args:
            checkpoint_path: file written by `fit`.
            kwargs: arguments that replace those in the checkpoint.

        Raises:
            FileNotFoundError, ValueError: for a file that is no checkpoint, or one that was not trained on such data.
        """
        hparams = read_checkpoint(checkpoint_path).get("datamodule_hyper_parameters", {})
        check_hyperparameters(hparams, kwargs)
        concrete = import_class(hparams["_class_path"]) if "_class_path" in hparams else None
        if concrete is None or not issubclass(concrete, cls):
            raise ValueError(
                f"ckpt_path={str(checkpoint_path)!r} was not trained on a datamodule of {cls.samples}, and does not say how they are "
                f"prepared; say it: {cls.example}"
            )
        data = super(Loaders, concrete).load_from_checkpoint(
            checkpoint_path, map_location="cpu", weights_only=True, **kwargs
        )
        data._first_epoch = 0  # that of the checkpoint is for a training that goes on
        return data

    @staticmethod
    def collate(items: Sequence[Any]) -> Any:
        """Make a batch of items of a set."""
        return collate_images(items)

    @property
    def skipped(self) -> list[str]:
        """Files left out so far, with the reason."""
        return self._log.read() if self._log else []

    def _open_log(self) -> SkipLog | None:
        if self.on_error == "skip" and self._log is None:
            self._log = SkipLog.shared(self.trainer)
        return self._log

    @property
    def sets(self) -> dict[str, Any]:
        """What `setup` has prepared, by name."""
        return self._sets

    def numbered(self, data: Any, numbers: Sequence[int]) -> DataLoader[Any]:
        """Load items of a set by their numbers, in this order."""
        return self._load(data, often=False, batch_size=self.batch_size, sampler=numbers, num_workers=self.num_workers)

    def teardown(self, stage: str) -> None:  # Lightning's signature
        if self._log:
            self._log.tell()

    def train_dataloader(self) -> DataLoader[Any]:
        return self._shuffled(self._sets["train"], self.batch_size)

    def _shuffled(self, data: Any, batch_size: int) -> DataLoader[Any]:
        """Batches of a set by seed and epoch, which the processes share."""
        processes = self.trainer.world_size if self.trainer else 1
        # a last batch of one image would break batch norm; a process's only batch is kept
        drop_last = len(data) > processes * batch_size
        # of one process; Lightning puts in that of several
        sampler: DistributedSampler[Any] = DistributedSampler(data, num_replicas=1, rank=0)
        first, self._first_epoch = self._first_epoch, 0
        return self._load(data, batch_sampler=ShuffledBatches(sampler, batch_size, drop_last, first))

    def val_dataloader(self) -> Any:
        return self._evaluate(self._sets["val"], often=True) if "val" in self._sets else []

    def test_dataloader(self) -> Any:
        """The test split's loader; where more is measured, a dictionary of loaders by name."""
        names = [name for name in self._sets if name not in ("train", "val", "predict")]
        loaders = {name: self._evaluate(self._sets[name]) for name in names}
        return loaders["test"] if names == ["test"] else loaders

    def predict_dataloader(self) -> DataLoader[Any]:
        name = "predict" if "predict" in self._sets else "test"
        return self._load(self._sets[name], batch_size=self.batch_size)

    def _evaluate(self, data: Any, often: bool = False) -> DataLoader[Any]:
        batches = ExactBatches(SequentialSampler(data), self.batch_size, drop_last=False)
        # a test reads each set once: the workers of one must not wait beside those of the next
        return self._load(data, often, batch_sampler=batches)

    def _load(self, data: Any, often: bool = True, **options: Any) -> DataLoader[Any]:
        options = {"collate_fn": self.collate, "num_workers": self._workers(data), **options}
        persistent = often and options["num_workers"] > 0
        return DataLoader(data, pin_memory=torch.cuda.is_available(), persistent_workers=persistent, **options)

    def _workers(self, data: Any) -> int:
        """Processes that load a set.

        None where it gives out rows of a tensor: they would only hand them on, and know nothing of those that come after they have begun.
        """
        images = getattr(data, "images", data)  # those of episodes
        ahead = any(images is self._sets.get(name) for name in self.embedded_first)
        return 0 if ahead or getattr(images, "embeddings", None) is not None else self.num_workers

    def state_dict(self) -> dict[str, Any]:
        """The epoch that a training resumed from this checkpoint begins with."""
        loop: Any = self.trainer.fit_loop  # type: ignore[union-attr]
        progress, finished = loop.epoch_progress.current, loop.epoch_loop.batch_progress.is_last_batch
        underway = progress.processed < progress.ready and not finished
        return {"next_epoch": progress.ready - underway}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._first_epoch = state_dict["next_epoch"]


def usual_workers(cache: bool) -> int:
    """Processes that load images: none where they are in memory, else one a core, at most 8."""
    if cache:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores)
