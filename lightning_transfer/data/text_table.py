"""Tables of text in files: CSV, TSV and JSON lines, every cell a text."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_SUFFIXES = (".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class TextTable:
    """Rows of cells.

    Args:
        name: of the file or the split of a set, for names and messages.
        columns: headings.
        rows: N, cells by heading.
        numbers: N, which row of the file each is, counted from 1 below the header.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[Mapping[str, str]]
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def require(self, argument: str, columns: Iterable[str]) -> None:
        """Refuse a table that has not all of some columns.

        Args:
            argument: that names them.
            columns: that must be there.

        Raises:
            ValueError: naming the columns there are.
        """
        for column in columns:
            if column not in self.columns:
                raise ValueError(f"{self.name} has no column {column!r}, but {list(self.columns)}; set data.{argument}")

    def where(self, column: str, *values: str) -> "TextTable":
        """The rows whose cell is one of some values."""
        kept = [i for i, row in enumerate(self.rows) if row[column].strip() in values]
        return TextTable(self.name, self.columns, [self.rows[i] for i in kept], [self.numbers[i] for i in kept])

    def names(self) -> list[str]:
        """`FILE/row` of each row."""
        return [f"{self.name}/{number}" for number in self.numbers]

    def cells(self, column: str) -> list[str]:
        """One column, without spaces around.

        Raises:
            ValueError: for an empty cell, naming its row.
        """
        found = [row[column].strip() for row in self.rows]
        if "" in found:
            number = self.numbers[found.index("")]
            raise ValueError(
                f"{self.name}, row {number}: column {column!r} is empty; write something, or leave the row out"
            )
        return found

    def fields(self, columns: Mapping[str, str]) -> list[dict[str, str]]:
        """Some columns as the fields of each row.

        Args:
            columns: by field.

        Raises:
            ValueError: for an empty cell.
        """
        found = [self.cells(column) for column in columns.values()]
        return [dict(zip(columns, cells, strict=True)) for cells in zip(*found, strict=True)]

    def labels(self, column: str, numbers: Mapping[str, int]) -> Tensor:
        """Class numbers (N,) int64 of a column of labels.

        Args:
            column: of the labels.
            numbers: of the classes by label.

        Raises:
            ValueError: for a label that is none of them.
        """
        found = self.cells(column)
        for number, label in zip(self.numbers, found, strict=True):
            if label not in numbers:
                known = ", ".join(list(numbers)[:10]) + (", ..." if len(numbers) > 10 else "")
                raise ValueError(f"{self.name}, row {number}: label {label!r} in column {column!r} is none of {known}")
        return torch.tensor([numbers[label] for label in found], dtype=torch.long)


def read_table(path: Path, argument: str, only: Sequence[str] = ()) -> TextTable:
    """Read a table by its file's ending: `.csv` (quoted where needed), `.tsv` (never quoted), `.jsonl` (an object a line).

    Args:
        path: the file, in UTF-8, with a header if it is no `.jsonl`.
        argument: that names it, for messages.
        only: the columns whose cells are kept; all if not given.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another ending, another encoding, a torn line, or no rows.
    """
    if not path.is_file():
        raise FileNotFoundError(f"data.{argument}={str(path)!r} is no file")
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"data.{argument}={str(path)!r} must end in {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}")
    try:
        columns, rows = _read_lines(path, only) if path.suffix == ".jsonl" else _read_cells(path, only)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not encoded as UTF-8 ({error.reason}); save it so") from error
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    if not rows:
        raise ValueError(f"{path} has no rows")
    return TextTable(str(path), columns, rows, range(1, len(rows) + 1))


def _read_cells(path: Path, only: Sequence[str]) -> tuple[list[str], list[dict[str, str]]]:
    form: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if path.suffix == ".tsv" else {}
    rows = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restval="", **form)
        columns = list(reader.fieldnames or ())
        for row in reader:
            if None in row:
                raise ValueError(
                    f"{path}, line {reader.line_num}: more cells than the header's {len(columns)}; a comma within a text needs "
                    "quotes around it"
                )
            if any(cell.strip() for cell in row.values()):
                rows.append(_kept(row, only))
    return columns, rows


def _read_lines(path: Path, only: Sequence[str]) -> tuple[list[str], list[dict[str, str]]]:
    columns: dict[str, None] = {}
    rows = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: {error.msg}; each line is one JSON object") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}: {line.strip()[:30]!r} is no JSON object")
            columns |= dict.fromkeys(row)
            rows.append({name: cell_text(value) for name, value in _kept(row, only).items()})
    return list(columns), [dict.fromkeys(columns.keys() & (only or columns), "") | row for row in rows]


def _kept(row: dict[str, Any], only: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in only if name in row} if only else row


def cell_text(value: object) -> str:
    """A value as a text: nothing as an empty one, lists and the like as JSON.

    Example:
        >>> [cell_text(value) for value in ("a", 1, None, [1])]
        ['a', '1', '', '[1]']
    """
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
