"""Few-shot tasks over the images of any data: classes to train on, classes to validate on and novel ones, each with its episodes."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_transfer.checkpoint import save_init_args
from lightning_transfer.data.base import ImageData
from lightning_transfer.data.class_sides import Side, make_pool, make_sides, turned_names
from lightning_transfer.data.class_splits import split_classes
from lightning_transfer.data.datasets import ImageDataset
from lightning_transfer.data.episode_checks import (
    SIDES,
    at_least_one,
    check_pool,
    check_shape,
    check_wrapped,
)
from lightning_transfer.data.episode_sampling import EpisodeSampler, EpisodeShape
from lightning_transfer.data.episode_set import EpisodeDataset, whole_batch
from lightning_transfer.data.loaders import Loaders
from lightning_transfer.data.new_classes import new_class_folders, new_classes
from lightning_transfer.data.sources import ImageSource
from lightning_transfer.data.splits import class_counts
from lightning_transfer.parts import Part
from lightning_transfer.seeds import derived_seed, run_seed
from lightning_transfer.tasks import Task


class EpisodeData(Part, Loaders):
    """Episodes over the classes of other data: `Episode`s of base classes for training, of others for validation, of novel ones for the test.

    All images of the data count, whichever split of its own they are in: a class is on one side, with all its images. Of near-copies (one
    caption, one speaker) an episode has one. Image size, workers, transforms, cache and the seed of the division are the data's.
    Validation and test have the same episodes in each run and epoch.

    Args:
        data: the images.
        ways: classes of an episode, or the least and the greatest number, between which each episode draws.
        shots: examples of each class, or the least and the greatest number, between which each class of an episode draws, as far as it
            has images.
        queries: of each class.
        train_ways: the same for training, which gains by more ways than the test has; as for the test if not given.
        train_shots: the same.
        train_queries: the same.
        episodes: of the test; 600 and more are usual.
        val_episodes: of each validation; as many if not given.
        train_episodes: an epoch.
        batch_size: episodes a step and process; 1 where ways or shots vary.
        val_classes: names of the classes for validation, or their share of all classes.
        novel_classes: names of the classes for the test, or their share; base classes are what remains.
        train_on: `images` gives training plain batches of base images, as many as the data's batch_size, to learn a classifier of them.
        support_from: of which modality of a sample the examples are; the image itself if not given.
        query_from: of which the queries are.
        rotations: whether each class turned by 90, 180 and 270 degrees is a further class, on the side of the original.
        eval_augmentations: as how many images each counts in validation and test, by that many draws of the data's evaluation transform,
            which must be random then; in training the data's `augmentations` count likewise.
        imbalance: concentration of the Dirichlet distribution by which queries of validation and test are spread over the ways, their number in
            all kept; evenly if not given.
        support_path: a folder with a folder of examples for each new class, for `predict`; episodes of the test if not given.
        predict_path: a folder of unlabelled images, or one file, which `predict` answers by these examples.

    Attributes:
        class_names: of the base classes, which a head can be trained on; of all classes where none are left to train on.
        all_class_names: of all classes, which `Episode.classes` numbers.

    Raises:
        ValueError: for values out of range, or data that has no episodes.

    Reference:
        Vinyals et al., "Matching Networks for One Shot Learning", NeurIPS 2016; Triantafillou et al., "Meta-Dataset: A Dataset of Datasets for
        Learning to Learn from Few Examples", ICLR 2020, for varying ways and shots; Veilleux et al., "Realistic evaluation of transductive
        few-shot learning", NeurIPS 2021, for uneven queries.
    """

    task: Task = "classification"

    def __init__(
        self,
        data: ImageData,
        ways: int | tuple[int, int] = 5,
        shots: int | tuple[int, int] = 1,
        queries: int = 15,
        train_ways: int | tuple[int, int] | None = None,
        train_shots: int | tuple[int, int] | None = None,
        train_queries: int | None = None,
        episodes: int = 600,
        val_episodes: int | None = None,
        train_episodes: int = 100,
        batch_size: int = 1,
        val_classes: float | list[str] = 0.2,
        novel_classes: float | list[str] = 0.2,
        train_on: Literal["episodes", "images"] = "episodes",
        support_from: str | None = None,
        query_from: str | None = None,
        rotations: bool = False,
        eval_augmentations: int | None = None,
        imbalance: float | None = None,
        support_path: str | None = None,
        predict_path: str | None = None,
    ) -> None:
        super().__init__()
        save_init_args(self)
        check_wrapped(data)
        self.data = data
        self.image_size, self.num_workers, self.on_error = data.image_size, data.num_workers, data.on_error
        self.batch_size = at_least_one("batch_size", batch_size)
        self.counts = {
            "test": at_least_one("episodes", episodes),
            "train": at_least_one("train_episodes", train_episodes),
            "val": at_least_one("val_episodes", episodes if val_episodes is None else val_episodes),
        }
        self.eval_augmentations = at_least_one(
            "eval_augmentations", 1 if eval_augmentations is None else eval_augmentations
        )
        self.shape = check_shape(EpisodeShape(ways, shots, queries, imbalance), "", batch_size)
        self.train_shape = EpisodeShape(
            ways if train_ways is None else train_ways,
            shots if train_shots is None else train_shots,
            queries if train_queries is None else train_queries,
        )
        if train_on not in ("episodes", "images"):
            raise ValueError(f"train_on={train_on!r} must be episodes or images")
        if train_on == "episodes":
            check_shape(self.train_shape, "train_", batch_size)
        if (support_path is None) != (predict_path is None):
            raise ValueError(
                "support_path and predict_path belong together: examples of new classes, and the images to tell by them"
            )
        self.train_on = train_on
        self.val_classes, self.novel_classes = val_classes, novel_classes
        self.support_from, self.query_from = support_from, query_from
        self.rotations = rotations
        self.support_path, self.predict_path = support_path, predict_path
        self._episodes: dict[str, EpisodeDataset] = {}

    @cached_property
    def divided(self) -> dict[str, list[int]]:
        """Numbers of the classes of `train`, `val` and `test`, turned ones aside."""
        return split_classes(self.data.class_names, self.val_classes, self.novel_classes, self.data.division.seed)

    @property
    def all_class_names(self) -> list[str]:
        """Of all classes, which `Episode.classes` numbers."""
        names = self.data.class_names
        return turned_names(names) if self.rotations else names

    @property
    def class_names(self) -> list[str]:
        """Of the base classes, as plain batches number them; of all classes where none are left to train on."""
        return self.names_of("train") or self.all_class_names

    @property
    def num_classes(self) -> int:
        """How many of them."""
        return len(self.class_names)

    @property
    def new_class_names(self) -> list[str]:
        """Of the classes that `predict` tells apart by `support_path`, which its episodes' `classes` number; none without one."""
        return (
            [] if self.support_path is None else [folder.name for folder in new_class_folders(Path(self.support_path))]
        )

    def names_of(self, split: str) -> list[str]:
        """Names of the classes of a split, as the targets of its images number them."""
        names = self.data.class_names
        found = [names[k] for k in self.divided[split]]
        return turned_names(found) if self.rotations else found

    @cached_property
    def sides(self) -> dict[str, Side]:
        """The images of `train`, `val` and `test`, where these have classes."""
        return make_sides(self.data, self.divided, self.support_from, self.query_from, self.rotations)

    def splits(self) -> dict[str, ImageSource]:
        """The images of base (train), validation and novel classes (test); their targets number the classes of their own split."""
        return {split: side.source for split, side in self.sides.items()}

    @property
    def class_counts(self) -> Tensor:
        """Images of each base class, (num_classes,) int64."""
        return class_counts(self.splits()["train"].targets, self.num_classes)

    @property
    def train_set(self) -> ImageDataset | EpisodeDataset:
        """What an epoch goes through, after `setup`: base images, or episodes of them."""
        return self._episodes["train"] if self.train_on == "episodes" else self._sets["train"]

    @property
    def images_a_batch(self) -> int | None:
        """In training: of plain images, or of all episodes together; none where their shapes vary."""
        if self.train_on == "images":
            return self.data.batch_size
        ways, shots, queries, _ = self.train_shape
        return self.batch_size * ways * (shots + queries) if isinstance(ways, int) and isinstance(shots, int) else None

    @property
    def base_set(self) -> ImageDataset | None:
        """All images of the base classes, as evaluation prepares them; none where there are no such classes."""
        if "train" in self.sides:
            self._add("base")
        return self._sets.get("base")

    @property
    def episode_sets(self) -> dict[str, EpisodeDataset]:
        """Episodes of each split, after `setup`."""
        return self._episodes

    def prepare_data(self) -> None:
        self.data.prepare_data()

    def setup(self, stage: str) -> None:
        self.embedded_first = frozenset()
        for images in self._sets.values():
            images.embed(None)  # what an earlier training's backbone made of them is nothing to whoever comes next
        if stage == "predict" and self.support_path is not None:
            return
        for split in {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}[stage]:
            if split in self.sides:
                self._add(split)
            elif split != "val" or stage == "validate":
                raise ValueError(
                    f"there are no {SIDES[split]} classes for {stage}; divide the classes otherwise by val_classes and novel_classes"
                )
        if "train" in self.sides:
            self._add("base")
        if stage == "fit":
            rank_zero_only(Console().print)(self.summary())

    def _add(self, name: str) -> None:
        if name in self._sets:
            return
        data, side = self.data, self.sides["train" if name == "base" else name]
        training = name == "train"
        transform = (data.train_transform if training else data.eval_transform)(data.image_size)
        versions = data.augmentations if training else 1 if name == "base" else self.eval_augmentations
        seed = run_seed() if versions is None else data.division.seed
        images = self._sets[name] = ImageDataset(side.source, transform, data.cache, None, seed, versions)
        if versions is not None and versions > 1 and not images.is_random():
            argument = "data.augmentations" if training else "eval_augmentations"
            raise ValueError(
                f"{argument}={versions} counts each image so many times by draws of {type(transform).__name__}, which draws nothing at random; "
                f"set data.{'train' if training else 'eval'}_transform to one that does, or leave {argument} out"
            )
        if name != "base" and not (training and self.train_on == "images"):
            self._episodes[name] = self._drawn(name, images, side)

    def _drawn(self, split: str, images: ImageDataset, side: Side) -> EpisodeDataset:
        shape = self.train_shape if split == "train" else self.shape
        pool = make_pool(side, images.augmentations, 4 if self.rotations else 1)
        check_pool(pool, shape, self.names_of(split), split)
        # training follows the run's seed; what is measured is the same in every run
        seed = derived_seed(run_seed() if split == "train" else self.data.division.seed, *split.encode())
        return EpisodeDataset(images, EpisodeSampler(pool, shape, seed), side.classes, self.counts[split])

    def summary(self) -> Table:
        """Classes and images of each side."""
        table = Table(title=f"episodes of {type(self.data).__name__}")
        for column in ("classes", "how many", "images", "episodes"):
            table.add_column(column)
        for split, side in self.sides.items():
            episodes = "" if split == "train" and self.train_on == "images" else str(self.counts[split])
            table.add_row(SIDES[split], str(len(side.classes)), str(len(side.source)), episodes)
        return table

    def train_dataloader(self) -> DataLoader[Any]:
        return self._shuffled(self.train_set, self.batch_size if self.train_on == "episodes" else self.data.batch_size)

    def val_dataloader(self) -> Any:
        return self._evaluate(self._episodes["val"], often=True) if "val" in self._episodes else []

    def test_dataloader(self) -> DataLoader[Any]:
        return self._evaluate(self._episodes["test"])

    def predict_dataloader(self) -> DataLoader[Any]:
        if self.support_path is None or self.predict_path is None:
            return self._load(self._episodes["test"], batch_size=self.batch_size)
        transform = self.data.eval_transform(self.image_size)
        return self._load(
            new_classes(Path(self.support_path), Path(self.predict_path), transform), batch_size=self.data.batch_size
        )

    def ordered_dataloader(self, source: ImageSource) -> DataLoader[Any]:
        """Images of any source in their order, behind the evaluation transform, in plain batches."""
        return self.data.ordered_dataloader(source)

    def numbered(self, data: ImageDataset, numbers: Sequence[int]) -> DataLoader[Any]:
        return self._load(
            data, often=False, batch_size=self.data.batch_size, sampler=numbers, num_workers=self.num_workers
        )

    def _load(self, data: Any, often: bool = True, **options: Any) -> DataLoader[Any]:
        if not isinstance(data, ImageDataset):
            options["collate_fn"] = whole_batch
        return super()._load(data, often, **options)
