"""What all datamodules of texts share: which rows each stage sees, and which fields of them a question shows."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightning_transfer.checkpoint import save_init_args
from lightning_transfer.contracts import TextBatch, TextRows
from lightning_transfer.data.division import Division, strata
from lightning_transfer.data.loaders import Loaders
from lightning_transfer.data.splits import class_counts, few_rows
from lightning_transfer.data.summary import summarise
from lightning_transfer.data.text_set import RowSource, TextSet, collate_text, same_text
from lightning_transfer.data.text_table import TextTable, read_table
from lightning_transfer.parts import Part
from lightning_transfer.tasks import TextTask

_STAGES = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}


class TextData(Part, Loaders, ABC):
    """Base of all datamodules of texts; a child names its classes and its inputs, and gives the rows of its splits.

    Rows whose inputs say the same, whatever their capitals and spaces, stay on one side of every split that is made here.

    Args:
        batch_size: rows a step and process.
        val_fraction: share of the training rows used for validation, where the set has no such split.
        test_fraction: share of all rows used for the test, where the set has no such split.
        labels_per_class: how many labelled training rows of each class are used; all if not given.
        fraction: share of the training rows that is used, of each class alike; all if not given.
        split_seed: seed of splits, and of the choice of few labels and few rows.
        val_rows: how many rows of the validation split are used, of each class alike; all if not given.
        test_rows: how many rows of the test split are used, of each class alike; all if not given.
        predict_path: a file of rows without labels (.csv, .tsv or .jsonl) for `predict`; the test split if not given.

    Attributes:
        inputs: the fields that a question shows, by which rows are told apart; other fields are for worked examples.
        task: whether the answer is one of the classes, or any text.

    Raises:
        ValueError: for values out of range.
    """

    task: TextTask = "classification"
    inputs: list[str]
    samples = "texts"
    example = "--data CsvTextData --data.train FILE.csv"

    def __init__(
        self,
        batch_size: int = 32,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        labels_per_class: int | None = None,
        fraction: float | None = None,
        split_seed: int = 0,
        val_rows: int | None = None,
        test_rows: int | None = None,
        predict_path: str | None = None,
    ) -> None:
        super().__init__()
        save_init_args(self)
        for name, value in (("batch_size", batch_size), ("val_rows", val_rows), ("test_rows", test_rows)):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        self.batch_size = batch_size
        self.division = Division(val_fraction, test_fraction, labels_per_class, fraction, split_seed, "rows")
        self.rows_of = {"val": val_rows, "test": test_rows}
        self.predict_path = predict_path
        self._sources: dict[str, RowSource] = {}
        self._announced = False

    @staticmethod
    def collate(items: Sequence[Any]) -> TextBatch:
        return collate_text(items)

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """K names, known before `setup`; none where answers are free."""

    @abstractmethod
    def sources(self) -> dict[str, TextRows]:
        """What the set brings: `train`, and `val` and `test` where it has them."""

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def class_counts(self) -> Tensor:
        """Training rows of each class, (K,) int64."""
        return class_counts(self.splits()["train"].target, self.num_classes)

    def columns(self) -> Mapping[str, str]:
        """Where a file of rows without labels has the inputs: its columns by field."""
        return {name: name for name in self.inputs}

    def fields(self, table: TextTable) -> list[dict[str, str]]:
        """The inputs of each row of a file."""
        return table.fields(self.columns())

    def counted(self) -> Mapping[str, Mapping[str, int]]:  # most sets are used as they are
        """What else there is to count when a training starts: numbers by split, by what they count."""
        return {}

    def splits(self) -> dict[str, TextRows]:
        """Train, val and test, few labels and few rows applied; the same for every stage."""
        return {name: source.rows for name, source in self._divided().items()}

    def _divided(self) -> dict[str, RowSource]:
        if not self._sources:
            sources = {name: self._source(rows) for name, rows in self.sources().items()}
            divided = self.division.divide(sources, self.task, self.class_names)
            self._sources = {name: self._some(name, source) for name, source in divided.items()}
        return self._sources

    def _source(self, rows: TextRows) -> RowSource:
        return RowSource(rows, [same_text(fields, self.inputs) for fields in rows.fields])

    def _some(self, name: str, source: RowSource) -> RowSource:
        count = self.rows_of.get(name)
        if count is None:
            return source
        if count > len(source):
            raise ValueError(
                f"{name}_rows={count}, but the {name} split has {len(source)} rows; at most these would do"
            )
        return source.subset(few_rows(strata(source, self.task), count, self.division.seed))

    def setup(self, stage: str) -> None:
        if stage == "predict" and self.predict_path is not None:
            self._sets["predict"] = TextSet(self.unlabelled(Path(self.predict_path)))
            return
        splits = self.splits()
        for name in _STAGES[stage]:
            if name in splits:
                self._sets[name] = TextSet(splits[name])
            elif name != "val" or stage == "validate":
                raise ValueError(f"the data has no {name} split; give one, or a {name}_fraction above 0")
        if stage == "fit" and not self._announced:
            rank_zero_only(Console().print)(self.summary())
            self._announced = True

    @property
    def train_set(self) -> TextSet:
        """The training rows, after `setup`."""
        found: TextSet = self._sets["train"]
        return found

    def unlabelled(self, path: Path) -> TextRows:
        """What `predict` reads at `predict_path`."""
        table = read_table(path, "predict_path")
        table.require("inputs", self.columns().values())
        return TextRows(self.fields(table), torch.full((len(table),), -1), name=table.names())

    def summary(self) -> Table:
        """Sizes of the splits, the balance of the training classes, and how many texts are met in training already."""
        divided = self._divided()
        further = {**self.counted(), "in train too": _repeated(divided)}
        return summarise(type(self).__name__, divided, self.class_names, self.task, "rows", further)


def _repeated(splits: Mapping[str, RowSource]) -> dict[str, int]:
    """How many rows of each split say what a training row does; a set may bring splits that do."""
    known = set(splits["train"].groups or ()) if "train" in splits else set()
    return {
        name: sum(text in known for text in source.groups or ()) for name, source in splits.items() if name != "train"
    }
