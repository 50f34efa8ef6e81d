"""What all datamodules share: which images each stage sees, and how they are prepared."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_transfer.checkpoint import save_init_args
from lightning_transfer.contracts import TransformFactory
from lightning_transfer.data.corruptions import Corruption
from lightning_transfer.data.datasets import ImageDataset
from lightning_transfer.data.division import Division
from lightning_transfer.data.loaders import Loaders, usual_workers
from lightning_transfer.data.modalities import Modality
from lightning_transfer.data.modalities.base import behind
from lightning_transfer.data.named_sets import by_label, check_classes, check_names, further_sets
from lightning_transfer.data.paired import companions
from lightning_transfer.data.sources import ImageSource, unlabelled
from lightning_transfer.data.splits import class_counts, target_statistics
from lightning_transfer.data.summary import summarise
from lightning_transfer.data.transforms import EvalTransform, TrainTransform
from lightning_transfer.parts import Part
from lightning_transfer.seeds import run_seed
from lightning_transfer.tasks import Task


class ImageData(Part, Loaders, ABC):
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
        views: of each training image in all, by `train_transform`, or what makes the second, third, ... view, which may be smaller;
            they go along as modalities `view_2`, `view_3`, ..., each drawn by seed, epoch, sample and view alone.
        view_modality: another modality of the samples, whose picture the second, fourth, ... view shows instead of the image.

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
        views: int | list[TransformFactory] = 1,
        view_modality: str | None = None,
    ) -> None:
        super().__init__()
        save_init_args(self)
        for name, value in (
            ("image_size", image_size),
            ("batch_size", batch_size),
            ("augmentations", augmentations),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"num_workers={num_workers} must be at least 0; 0 loads images in the main process")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error={on_error!r} must be raise or skip")
        self.image_size = image_size
        self.batch_size = batch_size
        self.num_workers = usual_workers(cache) if num_workers is None else num_workers
        self.division = Division(val_fraction, test_fraction, labels_per_class, fraction, split_seed)
        self.cache = cache
        self.on_error = on_error
        self.train_transform = behind(train_transform, modality)
        self.eval_transform = behind(eval_transform, modality)
        self.same_class = same_class or {}
        self.views = _further_views(views, train_transform, modality)
        if view_modality is not None and not self.views:
            raise ValueError(f"view_modality={view_modality!r} is seen in a second view; set views=2")
        self.view_modality = view_modality
        self.augmentations = augmentations
        self.predict_path = predict_path
        self.corruptions = by_label(corruptions or [])
        self.test_sets: dict[str, ImageData] = {}
        self.add_test_sets(test_sets or {})
        self._splits: dict[str, ImageSource] = {}
        self._announced = False

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
            self._splits = self.division.divide(self.sources(), self.task, self.class_names)
        return self._splits

    def add_test_sets(self, test_sets: dict[str, "ImageData"]) -> None:
        """Measure further data in the test, as the argument `test_sets` does.

        Raises:
            ValueError: for a name that something else is logged under.
        """
        others = [name for name, data in self.test_sets.items() if test_sets.get(name) is not data]
        check_names(test_sets, [*others, *self.corruptions])
        self.test_sets |= test_sets

    @property
    def target_statistics(self) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation (over N) of each target over the training images, (K,) each; none for classes."""
        if self.task != "regression":
            return None
        return target_statistics(self.splits()["train"].targets)

    @property
    def class_counts(self) -> Tensor:
        """Training images of each class, (K,) int64."""
        return class_counts(self.splits()["train"].targets, self.num_classes)

    @property
    def train_set(self) -> ImageDataset:
        """The training images, after `setup`."""
        found: ImageDataset = self._sets["train"]
        return found

    def prepare_data(self) -> None:
        for data in (*self.test_sets.values(), *self.same_class.values()):
            data.prepare_data()

    def setup(self, stage: str) -> None:
        if stage in ("fit", "test"):  # before a training already: its end would be late to hear of it
            check_classes(self.test_sets, self.class_names)
        self._open_log()
        self.embedded_first = frozenset()
        for images in self._sets.values():
            images.embed(None)  # what an earlier training's backbone made of them is nothing to whoever comes next
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
            for name, source, corruption in further_sets(self.test_sets, self.corruptions, splits.get("test")):
                self._add(name, source, corruption)
        if stage == "fit":
            self._begin()

    def _begin(self) -> None:
        for name in self._sets.keys() & {"train", "val"}:  # only a teacher looks at other modalities: a test needs none
            self._sets[name].accompany(companions(self, name, self._sets[name]))
        if not self._announced:
            rank_zero_only(Console().print)(self.summary())
            self._announced = True

    def unlabelled(self, path: Path) -> ImageSource:
        """What `predict` reads below `predict_path`."""
        return unlabelled(path)

    def _add(self, name: str, source: ImageSource, corruption: Corruption | None = None) -> None:
        if name in self._sets:
            return
        transform = (self.train_transform if name == "train" else self.eval_transform)(self.image_size)
        seed, augmentations = None, None
        if name == "train":
            augmentations = self.augmentations
            seed = run_seed() if augmentations is None else self.division.seed
        if corruption is not None:
            transform, seed = nn.Sequential(transform, corruption), corruption.seed
        self._sets[name] = ImageDataset(source, transform, self.cache, self._log, seed, augmentations)
        if corruption is not None:
            self._sets[name].cache = self._sets["test"].cache  # the decoded images are the same

    def transform_of(self, modality: str) -> nn.Module | None:  # most modalities share the image's geometry
        """The transform of a modality that has a geometry of its own."""
        return None

    def summary(self) -> Table:
        """Sizes of the splits, and the balance or spread of the training targets."""
        return summarise(type(self).__name__, self.splits(), self.class_names, self.task)

    def ordered_dataloader(self, source: ImageSource) -> DataLoader[Any]:
        """Images of any source in their order, behind the evaluation transform."""
        data = ImageDataset(source, self.eval_transform(self.image_size), log=self._open_log())
        return self._load(data, batch_size=self.batch_size)


def _further_views(
    views: int | list[TransformFactory], transform: TransformFactory, modality: Modality | None
) -> list[TransformFactory]:
    """What makes the second and each further view."""
    if isinstance(views, int):
        if views < 1:
            raise ValueError(f"views={views} must be at least 1; 2 is common for contrastive training")
        views = [transform] * (views - 1)
    return [behind(view, modality) for view in views]
