"""Images listed in a CSV file."""

import csv
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_transfer.data.base import ImageData
from lightning_transfer.data.folder import SPLITS
from lightning_transfer.data.sources import FileSource, ImageSource
from lightning_transfer.tasks import Task


class CsvData(ImageData):
    """A CSV file with a column of paths and one of labels, or some of numbers, and perhaps one of splits (train, val, test).

    Args:
        csv: the file, with a header.
        root: folder that the paths are relative to; the file's own if not given.
        path_column: heading of the paths.
        label_column: heading of the labels.
        split_column: heading of the splits; used where the file has it.
        group_column: heading of a column whose equal values mark near-copies, a patient or a scene for example; images of one group
            stay on one side of every split that is made here. Where captions are given and no groups, those of one caption do.
        separator: between several labels of an image; if given, every image can have any number of labels.
        target_columns: headings of columns of numbers, which are learned instead of labels (regression); a point marks decimals.
        modality_columns: headings of further columns of paths: the same samples in other modalities, such as colour beside depth. Each goes
            along under its heading, in the same geometry, for which its images must have the image's size.
        caption_column: heading of what is said of each image, for image-text training.
        kwargs: as for `ImageData`.

    Raises:
        FileNotFoundError: if the CSV file, or images that it lists, do not exist.
        ValueError: for a missing column, an unknown split, a target that is no number, or an image without a caption.
    """

    def __init__(
        self,
        csv: str,
        root: str | None = None,
        path_column: str = "path",
        label_column: str = "label",
        split_column: str = "split",
        group_column: str | None = None,
        separator: str | None = None,
        target_columns: list[str] | None = None,
        modality_columns: list[str] | None = None,
        caption_column: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.csv = Path(csv)
        self.root = Path(root) if root else self.csv.parent
        self.path_column, self.label_column, self.split_column = path_column, label_column, split_column
        self.group_column = group_column or caption_column
        self.caption_column = caption_column
        self.separator = separator
        self.target_columns = target_columns
        self.modality_columns = modality_columns or []
        self.task = self._task()
        self._rows: list[dict[str, str]] = []

    def _task(self) -> Task:
        columns = self.target_columns
        if columns is None:
            return "classification" if self.separator is None else "multi_label"
        if self.separator is not None:
            raise ValueError(
                f"separator={self.separator!r} is for labels, but target_columns={columns} hold numbers; give one"
            )
        if not columns or len(set(columns)) < len(columns):
            raise ValueError(f"target_columns={columns} must name at least one column, and each once")
        return "regression"

    def rows(self) -> list[dict[str, str]]:
        """The file's rows, blank ones left out."""
        if not self._rows:
            if not self.csv.is_file():
                raise FileNotFoundError(f"data.csv={str(self.csv)!r} is no file")
            with self.csv.open(newline="", encoding="utf-8-sig") as file:
                try:
                    reader = csv.DictReader(file, restval="")
                    header = reader.fieldnames or []
                    rows = [row for row in reader if any(str(value).strip() for value in row.values())]
                except UnicodeDecodeError as error:
                    raise ValueError(f"{self.csv} is not encoded as UTF-8 ({error.reason}); save it so") from error
            for option, column in self._columns():
                if column not in header:
                    raise ValueError(f"{self.csv} has no column {column!r}, but {list(header)}; set data.{option}")
            if not rows:
                raise ValueError(f"{self.csv} lists no images")
            self._rows = rows
        return self._rows

    def _columns(self) -> list[tuple[str, str]]:
        """The columns that must be there, each with the argument that names it."""
        named = [("path_column", self.path_column), *(("modality_columns", c) for c in self.modality_columns)]
        if self.caption_column is not None:
            named.append(("caption_column", self.caption_column))
        if self.group_column is not None:
            named.append(("group_column", self.group_column))
        if self.target_columns is None:
            return [*named, ("label_column", self.label_column)]
        return [*named, *(("target_columns", column) for column in self.target_columns)]

    def _number(self, row: dict[str, str], column: str) -> float:
        try:
            number = float(row[column])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(
                f"{self.csv}, row {self.rows().index(row) + 1} ({row[self.path_column]}): {row[column]!r} in column {column!r} "
                "is no number; correct it, or leave the row out"
            )
        return number

    def _labels(self, row: dict[str, str]) -> list[str]:
        text = row[self.label_column]
        parts = text.split(self.separator) if self.separator else [text]
        return [part.strip() for part in parts if part.strip()]

    @property
    def class_names(self) -> list[str]:
        if self.target_columns is not None:
            return list(self.target_columns)
        return sorted({label for row in self.rows() for label in self._labels(row)})

    def sources(self) -> dict[str, ImageSource]:
        by_split: dict[str, list[dict[str, str]]] = {}
        split_of = {name: split for split, names in SPLITS.items() for name in names}
        for row in self.rows():
            name = row.get(self.split_column, "train").strip()
            by_split.setdefault(split_of.get(name, name), []).append(row)
        if unknown := sorted(set(by_split) - set(SPLITS)):
            raise ValueError(f"{self.csv}, column {self.split_column!r}: {unknown[0]!r} is none of train, val, test")
        columns = (self.path_column, *self.modality_columns)
        paths = [self.root / row[column] for rows in by_split.values() for row in rows for column in columns]
        if missing := [str(path) for path in paths if not path.is_file()]:
            raise FileNotFoundError(
                f"{self.csv} lists {len(missing)} images that do not exist: {', '.join(missing[:3])}; "
                f"is data.root={str(self.root)!r} right?"
            )
        return {split: self._source(rows) for split, rows in by_split.items()}

    def _source(self, rows: list[dict[str, str]]) -> ImageSource:
        def files(column: str) -> list[Path]:
            return [self.root / row[column] for row in rows]

        source = FileSource(files(self.path_column), self._targets(rows), self._groups(rows))
        source.others = {column: FileSource(files(column)) for column in self.modality_columns}
        source.captions = self._captions(rows)
        return source

    def _captions(self, rows: list[dict[str, str]]) -> list[str] | None:
        if self.caption_column is None:
            return None
        for row in rows:
            if not row[self.caption_column].strip():
                raise ValueError(
                    f"{self.csv}: {row[self.path_column]} has no caption in column {self.caption_column!r}; write one, or leave the "
                    "row out"
                )
        return [row[self.caption_column].strip() for row in rows]

    def _groups(self, rows: list[dict[str, str]]) -> list[str] | None:
        return [row[self.group_column] for row in rows] if self.group_column else None

    def _targets(self, rows: list[dict[str, str]]) -> Tensor:
        if self.target_columns is not None:
            return torch.tensor([[self._number(row, column) for column in self.target_columns] for row in rows])
        number = {name: k for k, name in enumerate(self.class_names)}
        labels = [self._labels(row) for row in rows]
        if self.task == "multi_label":
            targets = torch.zeros(len(rows), len(number))
            for i, names in enumerate(labels):
                targets[i, [number[name] for name in names]] = 1
            return targets
        if not all(labels):
            row = rows[[not names for names in labels].index(True)]
            raise ValueError(f"{self.csv}: {row[self.path_column]} has no label in column {self.label_column!r}")
        return torch.tensor([number[names[0]] for names in labels])
