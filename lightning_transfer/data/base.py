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
from torch import Tensor
from torch.utils.data import DataLoader, SequentialSampler

from lightning_transfer.checkpoint import save_init_args
from lightning_transfer.contracts import ImageBatch, TransformFactory
from lightning_transfer.data.datasets import ImageDataset, SkipLog, collate
from lightning_transfer.data.images import image_files
from lightning_transfer.data.sampling import ExactBatches
from lightning_transfer.data.sources import FileSource, ImageSource, Subset
from lightning_transfer.data.splits import class_counts, few_labels, stratified_split
from lightning_transfer.data.transforms import EvalTransform, TrainTransform
from lightning_transfer.parts import Part


def data_root(root: str | None, folder: str = "") -> Path:
    """Where a set lies: `root`, or its folder below the variable LIGHTNING_TRANSFER_DATA or `./data`."""
    return Path(root) if root else Path(os.environ.get("LIGHTNING_TRANSFER_DATA", "data")) / folder


class ImageData(Part, LightningDataModule, ABC):
    """Base of all datamodules of images; a child names its classes and gives the sources of its splits.

    Args:
        image_size: side of the images in pixels.
        batch_size: images a step and process.
        num_workers: processes that load images; if not given none for cached images, otherwise one for each core, at most 8.
        val_fraction: share of the training images used for validation, where the set has no such split.
        test_fraction: share of all images used for the test, where the set has no such split.
        labels_per_class: how many labelled training images of each class are used; all if not given.
        fraction: share of the training images that is used, of each class alike; all if not given.
        split_seed: seed of splits and of the choice of few labels.
        cache: whether decoded images stay in memory, as bytes.
        on_error: whether an unreadable file stops the run, or is left out and listed at the end.
        train_transform: made of the image size, for training.
        eval_transform: made of the image size, for everything else.
        predict_path: a folder of unlabelled images, or one file, for `predict`; the test split if not given.

    Raises:
        ValueError: for values out of range.
    """

    multi_label: bool = False

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
        eval_transform: TransformFactory = EvalTransform,
        predict_path: str | None = None,
    ) -> None:
        super().__init__()
        save_init_args(self)
        for name, value in (("image_size", image_size), ("batch_size", batch_size), ("labels_per_class", labels_per_class)):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        for name, share in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
            if not 0 <= share < 1:
                raise ValueError(f"{name}={share} must lie in [0, 1)")
        if fraction is not None and not 0 < fraction <= 1:
            raise ValueError(f"fraction={fraction} must lie in (0, 1]")
        if fraction is not None and labels_per_class is not None:
            raise ValueError(f"fraction={fraction} and labels_per_class={labels_per_class} are two ways to say one thing; give one")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error={on_error!r} must be raise or skip")
        self.image_size = image_size
        self.batch_size = batch_size
        self.num_workers = _workers(cache) if num_workers is None else num_workers
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self.labels_per_class, self.fraction, self.split_seed = labels_per_class, fraction, split_seed
        self.cache = cache
        self.on_error: Literal["raise", "skip"] = on_error
        self.train_transform, self.eval_transform = train_transform, eval_transform
        self.predict_path = predict_path
        self._splits: dict[str, ImageSource] = {}
        self._sets: dict[str, ImageDataset] = {}
        self._log: SkipLog | None = None

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
                        train = splits["train"]
                        keep, out = stratified_split(train.targets, share, self.split_seed, train.groups)
                        splits["train"], splits[name] = Subset(train, keep), Subset(train, out)
                splits["train"] = self._few(splits["train"])
                if not len(splits["train"]):
                    raise ValueError("no labelled images are left for training; lower val_fraction or test_fraction")
            self._splits = {name: source for name, source in splits.items() if len(source)}
        return self._splits

    def _few(self, train: ImageSource) -> ImageSource:
        if self.labels_per_class is not None:
            return Subset(train, few_labels(train.targets, self.labels_per_class, self.split_seed, self.class_names))
        if self.fraction is not None and self.fraction < 1:
            keep, _ = stratified_split(train.targets, 1 - self.fraction, self.split_seed)
            return Subset(train, keep)
        return train

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

    def setup(self, stage: str) -> None:
        if self._log is None:
            self._log = SkipLog()
        if stage == "predict" and self.predict_path is not None:
            self._add("predict", FileSource(_unlabelled(Path(self.predict_path))))
            return
        splits = self.splits()
        for name in {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}[stage]:
            if name in splits:
                self._add(name, splits[name])
            elif name != "val" or stage == "validate":
                raise ValueError(f"the data has no {name} split; give one, or a {name}_fraction above 0")
        if stage == "fit":
            self._announce()

    def _add(self, name: str, source: ImageSource) -> None:
        if name not in self._sets and self._log is not None:
            transform = (self.train_transform if name == "train" else self.eval_transform)(self.image_size)
            self._sets[name] = ImageDataset(source, transform, self.cache, self.on_error, self._log)

    @rank_zero_only
    def _announce(self) -> None:
        Console().print(self.summary())

    def summary(self) -> Table:
        """Sizes of the splits, and the balance of the training labels."""
        table = Table(title=f"{type(self).__name__}: {self.num_classes} classes")
        counts = self.class_counts
        for heading in ("split", "images", "a class"):
            table.add_column(heading)
        few = f"{int(counts.min())} to {int(counts.max())}, median {int(counts.median())}"
        if self.num_classes <= 20:
            few = ", ".join(f"{name} {int(n)}" for name, n in zip(self.class_names, counts, strict=True))
        for name, source in self.splits().items():
            table.add_row(name, str(len(source)), few if name == "train" else "")
        return table

    def train_dataloader(self) -> DataLoader[Any]:
        data = self._sets["train"]
        return self._loader(data, shuffle=True, batch_size=self.batch_size, drop_last=len(data) > self.batch_size)

    def val_dataloader(self) -> Any:
        return self._eval_loader("val") if "val" in self._sets else []

    def test_dataloader(self) -> DataLoader[Any]:
        return self._eval_loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        name = "predict" if "predict" in self._sets else "test"
        return self._loader(self._sets[name], batch_size=self.batch_size)

    def _eval_loader(self, name: str) -> DataLoader[Any]:
        data = self._sets[name]
        sampler = SequentialSampler(data)
        return self._loader(data, batch_sampler=ExactBatches(sampler, self.batch_size, drop_last=False))

    def _loader(self, data: ImageDataset, **options: Any) -> DataLoader[ImageBatch]:
        return DataLoader(
            data,  # type: ignore[arg-type]  # items are collated into batches
            collate_fn=collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            **options,
        )

    def teardown(self, stage: str) -> None:  # noqa: ARG002  # Lightning's signature
        if skipped := self.skipped:
            shown = "\n  ".join(skipped[:10])
            rank_zero_warn(f"{len(skipped)} unreadable images were left out:\n  {shown}" + ("\n  ..." if len(skipped) > 10 else ""))
        if self._log is not None:
            Path(self._log.path).unlink(missing_ok=True)
            self._log = None
            self._sets = {}


def _workers(cache: bool) -> int:
    if cache:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores)


def _unlabelled(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"data.predict_path={str(path)!r} is neither a folder nor a file")
    files = image_files(path)
    if not files:
        raise ValueError(f"data.predict_path={str(path)!r} holds no images (.jpg, .png, .webp, .bmp, .gif, .tif, ...)")
    return files
