"""What datamodules of tables share: which columns are fields, and which is the label or the answer."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lightning_transfer.contracts import TextRows
from lightning_transfer.data.text import TextData
from lightning_transfer.data.text_table import TextTable


class TabularTextData(TextData):
    """Base of datamodules whose splits are tables; a child reads them.

    Args:
        inputs: columns by the field that a question shows it as, or fields that are named like their columns; `{text}` in a template is
            the field `text`.
        label_column: heading of the labels.
        class_names: names of the classes: a list, in which the labels 0, 1, ... number them or which are the labels themselves; or names
            by label, several labels of one name being one class; the labels, sorted, if not given.
        answer_column: heading of free answers, which are given instead of classes.
        further_columns: as `inputs`, for fields that worked examples alone show.
        kwargs: as for `TextData`.

    Raises:
        ValueError: for fields or names that cannot be.
    """

    def __init__(
        self,
        inputs: dict[str, str] | list[str] | None = None,
        label_column: str = "label",
        class_names: list[str] | dict[str, str] | None = None,
        answer_column: str | None = None,
        further_columns: dict[str, str] | list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_columns = _by_field("inputs", {"text": "text"} if inputs is None else inputs)
        if not self.input_columns:
            raise ValueError(
                f"inputs={inputs} names no field; a question shows one at least, {{'text': 'text'}} for example"
            )
        self.further_columns = _by_field("further_columns", further_columns or {})
        if both := [name for name in self.input_columns if name in self.further_columns]:
            raise ValueError(f"further_columns: the field {both[0]!r} is one of inputs already; give it another name")
        if answer_column is not None and class_names is not None:
            raise ValueError(
                f"class_names={class_names}, but answer_column={answer_column!r} holds free answers; give one"
            )
        self.inputs = list(self.input_columns)
        self.label_column, self.answer_column = label_column, answer_column
        self.task = "classification" if answer_column is None else "generation"
        self.named, self.listed = _names(class_names), isinstance(class_names, list)
        self._tables: dict[str, TextTable] = {}

    @abstractmethod
    def read(self) -> dict[str, TextTable]:
        """The tables of the splits there are, read from where they lie."""

    def tables(self) -> dict[str, TextTable]:
        """The tables of the splits, whose columns are there."""
        if not self._tables:
            tables = self.read()
            for table in tables.values():
                for argument, columns in self._named_columns().items():
                    table.require(argument, columns)
            self._tables = tables
        return self._tables

    def _named_columns(self) -> dict[str, list[str]]:
        """The columns that must be there, by the argument that names them."""
        named = {"inputs": [*self.input_columns.values()], "further_columns": [*self.further_columns.values()]}
        if self.answer_column is not None:
            return named | {"answer_column": [self.answer_column]}
        return named | {"label_column": [self.label_column]}

    def columns(self) -> Mapping[str, str]:
        return self.input_columns

    @property
    def class_names(self) -> list[str]:
        if self.task == "generation":
            return []
        return list(dict.fromkeys(self.labels().values()))

    def labels(self) -> dict[str, str]:
        """Names of the classes by label, as the tables write it."""
        tables = {} if self.named else self.tables()  # a set may bring names of its own
        if self.named:
            return self.named
        table = tables.get("train", next(iter(tables.values())))
        found = sorted({*table.cells(self.label_column)}, key=_in_order)
        return {label: label for label in found}

    def sources(self) -> dict[str, TextRows]:
        return {split: self._rows(table) for split, table in self.tables().items()}

    def _rows(self, table: TextTable) -> TextRows:
        fields = table.fields(self.input_columns | self.further_columns)
        if self.answer_column is not None:
            return TextRows(fields, torch.full((len(table),), -1), table.cells(self.answer_column), table.names())
        labels, names = self.labels(), self.class_names
        numbers = {label: names.index(name) for label, name in labels.items()}
        if self.listed:
            numbers |= {name: k for k, name in enumerate(names)}
        return TextRows(fields, table.labels(self.label_column, numbers), name=table.names())


def _by_field(argument: str, columns: dict[str, str] | Sequence[str]) -> dict[str, str]:
    found = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
    for field in found:
        if not field.isidentifier() or field == "label":
            why = (
                "{label} is where a template has the answer"
                if field == "label"
                else "it cannot stand in a template's braces"
            )
            raise ValueError(
                f"{argument}: no field can be called {field!r}, for {why}; name it: {{'text': {found[field]!r}}}"
            )
    return found


def _names(class_names: list[str] | Mapping[str, str] | None) -> dict[str, str]:
    """Names by label."""
    if class_names is None:
        return {}
    if isinstance(class_names, Mapping):
        found = {str(label): str(name) for label, name in class_names.items()}
    else:
        if len(set(class_names)) < len(class_names):
            raise ValueError(
                f"class_names={class_names} gives a name twice; labels of one class: {{'0': 'bad', '1': 'bad'}}"
            )
        found = {str(k): name for k, name in enumerate(class_names)}
    if len(set(found.values())) < 2:
        raise ValueError(f"class_names={class_names} must name at least two classes")
    return found


def _in_order(label: str) -> tuple[bool, int, str]:
    """Numbers by their value, before words."""
    whole = label.isdecimal()
    return (not whole, int(label) if whole else 0, label)
