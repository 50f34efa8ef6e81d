"""Images listed in a CSV file."""

import csv
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_transfer.data.base import ImageData
from lightning_transfer.data.folder import SPLITS
from lightning_transfer.data.sources import FileSource, ImageSource


class CsvData(ImageData):
    """A CSV file with a column of paths and one of labels, and perhaps one of splits (train, val, test).

    Args:
        csv: the file, with a header.
        root: folder that the paths are relative to; the file's own if not given.
        path_column: heading of the paths.
        label_column: heading of the labels.
        split_column: heading of the splits; used where the file has it.
        group_column: heading of a column whose equal values mark near-copies, a patient or a scene for example; images of one group
            stay on one side of every split that is made here.
        separator: between several labels of an image; if given, every image can have any number of labels.
        kwargs: as for `ImageData`.

    Raises:
        FileNotFoundError: if the CSV file, or images that it lists, do not exist.
        ValueError: for a missing column or an unknown split.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.csv = Path(csv)
        self.root = Path(root) if root else self.csv.parent
        self.path_column, self.label_column, self.split_column = path_column, label_column, split_column
        self.group_column = group_column
        self.separator = separator
        self.multi_label = separator is not None
        self._rows: list[dict[str, str]] = []

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
            for option in ("path_column", "label_column", "group_column"):
                if getattr(self, option) not in (*header, None):
                    raise ValueError(
                        f"{self.csv} has no column {getattr(self, option)!r}, but {list(header)}; set data.{option}"
                    )
            if not rows:
                raise ValueError(f"{self.csv} lists no images")
            self._rows = rows
        return self._rows

    def _labels(self, row: dict[str, str]) -> list[str]:
        text = row[self.label_column]
        parts = text.split(self.separator) if self.separator else [text]
        return [part.strip() for part in parts if part.strip()]

    @property
    def class_names(self) -> list[str]:
        return sorted({label for row in self.rows() for label in self._labels(row)})

    def sources(self) -> dict[str, ImageSource]:
        by_split: dict[str, list[dict[str, str]]] = {}
        split_of = {name: split for split, names in SPLITS.items() for name in names}
        for row in self.rows():
            name = row.get(self.split_column, "train").strip()
            by_split.setdefault(split_of.get(name, name), []).append(row)
        if unknown := sorted(set(by_split) - set(SPLITS)):
            raise ValueError(f"{self.csv}, column {self.split_column!r}: {unknown[0]!r} is none of train, val, test")
        paths = {split: [self.root / row[self.path_column] for row in rows] for split, rows in by_split.items()}
        if missing := [str(path) for found in paths.values() for path in found if not path.is_file()]:
            raise FileNotFoundError(
                f"{self.csv} lists {len(missing)} images that do not exist: {', '.join(missing[:3])}; "
                f"is data.root={str(self.root)!r} right?"
            )
        return {
            split: FileSource(paths[split], self._targets(rows), self._groups(rows)) for split, rows in by_split.items()
        }

    def _groups(self, rows: list[dict[str, str]]) -> list[str] | None:
        return [row[self.group_column] for row in rows] if self.group_column else None

    def _targets(self, rows: list[dict[str, str]]) -> Tensor:
        number = {name: k for k, name in enumerate(self.class_names)}
        labels = [self._labels(row) for row in rows]
        if self.multi_label:
            targets = torch.zeros(len(rows), len(number))
            for i, names in enumerate(labels):
                targets[i, [number[name] for name in names]] = 1
            return targets
        if not all(labels):
            row = rows[[not names for names in labels].index(True)]
            raise ValueError(f"{self.csv}: {row[self.path_column]} has no label in column {self.label_column!r}")
        return torch.tensor([number[names[0]] for names in labels])
