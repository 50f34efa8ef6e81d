"""What all datamodules share: splits, few labels, loaders and what is said at the start."""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler, SequentialSampler

from lightning_transfer.checkpoint import check_hyperparameters, import_class, read_checkpoint, save_init_args
from lightning_transfer.contracts import ImageBatch, TransformFactory
from lightning_transfer.data.corruptions import Corruption
from lightning_transfer.data.datasets import ImageDataset, SkipLog, collate
from lightning_transfer.data.modalities import Modality
from lightning_transfer.data.modalities.base import behind
from lightning_transfer.data.named_sets import by_label, check_classes, check_names
from lightning_transfer.data.paired import companions
from lightning_transfer.data.sampling import ExactBatches, ShuffledBatches
from lightning_transfer.data.sources import ImageSource, Subset, unlabelled
from lightning_transfer.data.splits import class_counts, few_labels, few_percent, stratified_split
from lightning_transfer.data.transforms import EvalTransform, TrainTransform
from lightning_transfer.parts import Part
from lightning_transfer.seeds import run_seed
from lightning_transfer.tasks import Task


class ImageData(Part, LightningDataModule, ABC):
    """Base of all datamodules of images; a child names its classes and gives the sources of its splits.

    Args:
        image_size: side of the images in pixels.
        batch_size: images a step and process.
        num_workers: processes that load images; if not given none for cached images, else one a core, at most 8.
        val_fraction: share of the training images used for validation, where the set has no such split.
        test_fraction: share of all images used for the test, where the set has no such split.
        labels_per_class: how many labelled training images of each class are used; all if not given.
        fraction: share of the training images that is used, of each class alike; all if not given.
        split_seed: seed of splits, of the choice of few labels, and of the training transform where `augmentations` are given.
        cache: whether decoded images stay in memory, as bytes.
        on_error: whether an unreadable file stops the run, or is left out and listed at the end.
        train_transform: made of the image size, for training.
        augmentations: how many different draws of a random training transform each image has, the same in every run, which the
            epochs take in turn; another in each epoch, by the run's seed, if not given.
        eval_transform: made of the image size, for everything else.
        predict_path: a folder of unlabelled images, or one file, for `predict`; the test split if not given.
        test_sets: further data by name, with the same classes, whose test split is measured beside this one's and logged as
            `NAME/accuracy`. Their images are prepared as this data's are: image size, evaluation transform, batch size, workers,
            cache and `on_error` are this data's.
        corruptions: each is put on the images of this data's test split, which is measured once more and logged as
            `fog_3/accuracy`; `corrupted/accuracy` is the mean over them.
        modality: what the model sees of an image instead of the image itself; the image goes along as modality `picture`.
        same_class: further data by the name of their modality, with as many classes: each sample is given an image of its class from
            their split of the same name, behind their evaluation transform, in training another one in each epoch.

    Raises:
        ValueError: for values out of range.
    """

    task: Task = "classification"

    def __init__(
        self,
        image_size: int = 224,
        batch_size: int = 32,
        num_workers: int | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        labels_per_class: int | None = None,
        fraction: float | None = None,
        split_seed: int = 0,
        cache: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
        train_transform: TransformFactory = TrainTransform,
        augmentations: int | None = None,
        eval_transform: TransformFactory = EvalTransform,
        predict_path: str | None = None,
        test_sets: dict[str, "ImageData"] | None = None,
        corruptions: list[Corruption] | None = None,
        modality: Modality | None = None,
        same_class: dict[str, "ImageData"] | None = None,
    ) -> None:
        super().__init__()
        save_init_args(self)
        for name, value in (
            ("image_size", image_size),
            ("batch_size", batch_size),
            ("labels_per_class", labels_per_class),
            ("augmentations", augmentations),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        for name, share in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
            if not 0 <= share < 1:
                raise ValueError(f"{name}={share} must lie in [0, 1)")
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"num_workers={num_workers} must be at least 0; 0 loads images in the main process")
        if fraction is not None and not 0 < fraction <= 1:
            raise ValueError(f"fraction={fraction} must lie in (0, 1]")
        if fraction is not None and labels_per_class is not None:
            raise ValueError(
                f"fraction={fraction} and labels_per_class={labels_per_class} are two ways to say one thing; give one"
            )
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error={on_error!r} must be raise or skip")
        self.image_size = image_size
        self.batch_size = batch_size
        self.num_workers = _workers(cache) if num_workers is None else num_workers
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self.labels_per_class, self.fraction, self.split_seed = labels_per_class, fraction, split_seed
        self.cache = cache
        self.on_error = on_error
        self.train_transform = behind(train_transform, modality)
        self.eval_transform = behind(eval_transform, modality)
        self.same_class = same_class or {}
        self.augmentations = augmentations
        self.predict_path = predict_path
        self.corruptions = by_label(corruptions or [])
        self.test_sets: dict[str, ImageData] = {}
        self.add_test_sets(test_sets or {})
        self._splits: dict[str, ImageSource] = {}
        self._sets: dict[str, ImageDataset] = {}
        self._log: SkipLog | None = None
        self._reported = 0
        self._announced = False
        self._first_epoch = 0

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning wraps its own in a descriptor
        cls, checkpoint_path: str | Path, **kwargs: Any
    ) -> "ImageData":
        """Rebuild the datamodule that a checkpoint was trained on, of whatever class it is.

        Args:
            checkpoint_path: file written by `fit`.
            kwargs: arguments that replace those in the checkpoint.

        Raises:
            FileNotFoundError, ValueError: for a file that is no checkpoint, or one that was not trained on images.
        """
        hparams = read_checkpoint(checkpoint_path).get("datamodule_hyper_parameters", {})
        check_hyperparameters(hparams, kwargs)
        concrete = import_class(hparams["_class_path"]) if "_class_path" in hparams else None
        if concrete is None or not issubclass(concrete, cls):
            raise ValueError(
                f"ckpt_path={str(checkpoint_path)!r} was not trained on a datamodule of images, and does not say how they are "
                "prepared; say it: --data FolderData --data.root FOLDER --data.image_size 224"
            )
        data: ImageData = super(ImageData, concrete).load_from_checkpoint(
            checkpoint_path, map_location="cpu", weights_only=True, **kwargs
        )
        data._first_epoch = 0  # that of the checkpoint is for a training that goes on
        return data

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """K names, known before any image is read."""

    @abstractmethod
    def sources(self) -> dict[str, ImageSource]:
        """What the set brings: `train`, and `val` and `test` where it has them."""

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    def splits(self) -> dict[str, ImageSource]:
        """Train, val and test, few labels applied; the same for every stage."""
        if not self._splits:
            splits = {name: source for name, source in self.sources().items() if len(source)}
            if "train" in splits:
                for name, share in (("test", self.test_fraction), ("val", self.val_fraction)):
                    if name not in splits and share > 0:
                        splits["train"], splits[name] = self._split_off(name, share, splits["train"])
                splits["train"] = self._few(splits["train"])
            self._splits = splits
        return self._splits

    def _split_off(self, name: str, share: float, train: ImageSource) -> tuple[ImageSource, ImageSource]:
        keep, out = stratified_split(self._strata(train), share, self.split_seed, train.groups)
        if not len(out):
            raise ValueError(
                f"{name}_fraction={share} of {len(train)} images is none; raise it, or set it to 0 for no {name} split"
            )
        return Subset(train, keep), Subset(train, out)

    def _few(self, train: ImageSource) -> ImageSource:
        if self.labels_per_class is not None:
            if self.task == "regression":
                raise ValueError(
                    f"labels_per_class={self.labels_per_class}, but numbers have no classes; use fraction for few labels"
                )
            return Subset(train, few_labels(train.targets, self.labels_per_class, self.split_seed, self.class_names))
        if self.fraction is not None and self.fraction < 1:
            return Subset(train, few_percent(self._strata(train), self.fraction, self.split_seed))
        return train

    def add_test_sets(self, test_sets: dict[str, "ImageData"]) -> None:
        """Measure further data in the test, as the argument `test_sets` does.

        Raises:
            ValueError: for a name that something else is logged under.
        """
        others = [name for name, data in self.test_sets.items() if test_sets.get(name) is not data]
        check_names(test_sets, [*others, *self.corruptions])
        self.test_sets |= test_sets

    def _strata(self, source: ImageSource) -> Tensor:
        """Targets that splits share out alike; numbers are shared out at random, as if all were of one class."""
        return torch.zeros(len(source), dtype=torch.long) if self.task == "regression" else source.targets

    @property
    def target_statistics(self) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation (over N) of each target over the training images, (K,) each; none for classes."""
        if self.task != "regression":
            return None
        targets = self.splits()["train"].targets.double()
        return targets.mean(0).float(), targets.std(0, correction=0).float()

    @property
    def class_counts(self) -> Tensor:
        """Training images of each class, (K,) int64."""
        return class_counts(self.splits()["train"].targets, self.num_classes)

    @property
    def train_set(self) -> ImageDataset:
        """The training images, after `setup`."""
        return self._sets["train"]

    @property
    def skipped(self) -> list[str]:
        """Files left out so far, with the reason."""
        return self._log.read() if self._log else []

    def prepare_data(self) -> None:
        for data in (*self.test_sets.values(), *self.same_class.values()):
            data.prepare_data()

    def setup(self, stage: str) -> None:
        if stage in ("fit", "test"):  # before a training already: its end would be late to hear of it
            check_classes(self.test_sets, self.class_names)
        if self.on_error == "skip" and self._log is None:
            self._log = self._open_log()
        if stage == "predict" and self.predict_path is not None:
            self._add("predict", self.unlabelled(Path(self.predict_path)))
            return
        splits = self.splits()
        for name in {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}[stage]:
            if name in splits:
                self._add(name, splits[name])
            elif (name != "val" or stage == "validate") and not (stage == "test" and self.test_sets):
                raise ValueError(f"the data has no {name} split; give one, or a {name}_fraction above 0")
        if stage == "test":
            self._add_further()
        if stage == "fit":
            self._begin()

    def _begin(self) -> None:
        for name in self._sets.keys() & {"train", "val"}:  # only a teacher looks at other modalities: a test needs none
            self._sets[name].accompany(companions(self, name, self._sets[name]))
        if not self._announced:
            self._announce()
            self._announced = True

    def unlabelled(self, path: Path) -> ImageSource:
        """What `predict` reads below `predict_path`."""
        return unlabelled(path)

    def _open_log(self) -> SkipLog:
        if self.trainer is None or self.trainer.world_size == 1:
            return SkipLog()
        log = SkipLog() if self.trainer.is_global_zero else None
        path = self.trainer.strategy.broadcast(log.path if log else None)
        return log or SkipLog(path)

    def _add(self, name: str, source: ImageSource, corruption: Corruption | None = None) -> None:
        if name in self._sets:
            return
        transform = (self.train_transform if name == "train" else self.eval_transform)(self.image_size)
        seed, augmentations = None, None
        if name == "train":
            augmentations = self.augmentations
            seed = run_seed() if augmentations is None else self.split_seed
        if corruption is not None:
            transform, seed = nn.Sequential(transform, corruption), corruption.seed
        self._sets[name] = ImageDataset(source, transform, self.cache, self._log, seed, augmentations)

    def transform_of(self, modality: str) -> nn.Module | None:  # most modalities share the image's geometry
        """The transform of a modality that has a geometry of its own."""
        return None

    def _add_further(self) -> None:
        """The sets that a test measures beside the data's own test split."""
        for name, data in self.test_sets.items():
            if "test" not in data.splits():
                raise ValueError(f"test_sets.{name} has no test split; give one, or a test_fraction above 0")
            self._add(name, data.splits()["test"])
        if self.corruptions and "test" not in self._sets:
            raise ValueError("corruptions need a test split of the data's own; give one, or a test_fraction above 0")
        for name, corruption in self.corruptions.items():
            self._add(name, self.splits()["test"], corruption)
            self._sets[name].cache = self._sets["test"].cache  # the decoded images are the same

    @rank_zero_only
    def _announce(self) -> None:
        Console().print(self.summary())

    def summary(self) -> Table:
        """Sizes of the splits, and the balance or spread of the training targets."""
        kind, heading, found = "classes", "a class", self._balance
        if self.task == "regression":
            kind, heading, found = "targets", "mean ± deviation", self._spread
        table = Table(title=f"{type(self).__name__}: {self.num_classes} {kind}")
        for column in ("split", "images", heading):
            table.add_column(column)
        for name, source in self.splits().items():
            table.add_row(name, str(len(source)), found() if name == "train" else "")
        return table

    def _balance(self) -> str:
        counts = self.class_counts
        if self.num_classes <= 20:
            return ", ".join(f"{name} {int(n)}" for name, n in zip(self.class_names, counts, strict=True))
        return f"{int(counts.min())} to {int(counts.max())}, median {int(counts.median())}"

    def _spread(self) -> str:
        assert self.target_statistics is not None
        each = zip(self.class_names, *(part.tolist() for part in self.target_statistics), strict=True)
        return ", ".join(f"{name} {mean:.4g} ± {deviation:.4g}" for name, mean, deviation in each)

    def state_dict(self) -> dict[str, Any]:
        """The epoch that a training resumed from this checkpoint begins with."""
        loop: Any = self.trainer.fit_loop  # type: ignore[union-attr]
        progress, finished = loop.epoch_progress.current, loop.epoch_loop.batch_progress.is_last_batch
        underway = progress.processed < progress.ready and not finished
        return {"next_epoch": progress.ready - underway}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._first_epoch = state_dict["next_epoch"]

    def train_dataloader(self) -> DataLoader[Any]:
        data = self._sets["train"]
        processes = self.trainer.world_size if self.trainer else 1
        # a last batch of one image would break batch norm; a process's only batch is kept
        drop_last = len(data) > processes * self.batch_size
        # of one process; Lightning puts in that of several
        sampler: DistributedSampler[Any] = DistributedSampler(data, num_replicas=1, rank=0)
        first, self._first_epoch = self._first_epoch, 0
        return self._loader(data, batch_sampler=ShuffledBatches(sampler, self.batch_size, drop_last, first))

    def val_dataloader(self) -> Any:
        return self._eval_loader("val") if "val" in self._sets else []

    def test_dataloader(self) -> Any:
        """The test split's loader; where more is measured, a dictionary of loaders by name."""
        names = [name for name in ("test", *self.test_sets, *self.corruptions) if name in self._sets]
        loaders = {name: self._eval_loader(name) for name in names}
        return loaders["test"] if names == ["test"] else loaders

    def predict_dataloader(self) -> DataLoader[Any]:
        name = "predict" if "predict" in self._sets else "test"
        return self._loader(self._sets[name], batch_size=self.batch_size)

    def ordered_dataloader(self, source: ImageSource) -> DataLoader[Any]:
        """Images of any source in their order, behind the evaluation transform."""
        if self.on_error == "skip" and self._log is None:
            self._log = self._open_log()
        data = ImageDataset(source, self.eval_transform(self.image_size), log=self._log)
        return self._loader(data, batch_size=self.batch_size)

    def _eval_loader(self, name: str) -> DataLoader[Any]:
        data = self._sets[name]
        batches = ExactBatches(SequentialSampler(data), self.batch_size, drop_last=False)
        # a test reads each set once: the workers of one must not wait beside those of the next
        return self._loader(data, batch_sampler=batches, persistent_workers=self.num_workers > 0 and name == "val")

    def _loader(self, data: ImageDataset, **options: Any) -> DataLoader[ImageBatch]:
        return DataLoader(
            data,  # type: ignore[arg-type]  # items are collated into batches
            collate_fn=collate,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            **{"persistent_workers": self.num_workers > 0} | options,
        )

    def teardown(self, stage: str) -> None:  # Lightning's signature
        skipped = self.skipped[self._reported :]
        self._reported += len(skipped)
        if skipped:
            shown = "\n  ".join(skipped[:10]) + ("\n  ..." if len(skipped) > 10 else "")
            rank_zero_warn(f"{len(skipped)} unreadable images were left out:\n  {shown}")


def _workers(cache: bool) -> int:
    if cache:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores)
