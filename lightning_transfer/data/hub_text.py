"""Texts of the Hugging Face hub."""

from typing import Any

from lightning_transfer.data.tabular_text import TabularTextData
from lightning_transfer.data.text_table import TextTable, cell_text
from lightning_transfer.extras import load_extra


class HubTextData(TabularTextData):
    """A data set of texts by its name on the Hugging Face hub, loaded by the package `datasets` (extra `datasets`).

    Args:
        dataset: its name, `stanfordnlp/sst2` for example, or a folder.
        name: of one of its configurations, where it has several.
        inputs: columns by the field that a question shows it as, or fields that are named like their columns; `text` if not given.
        label_column: heading of the labels.
        class_names: as for `CsvTextData`; those that the set itself gives, if it does, otherwise its labels, sorted.
        answer_column: heading of free answers, which are given instead of classes.
        further_columns: as `inputs`, for fields that worked examples alone show.
        train_split: the set's name of its training split.
        val_split: of its validation split; none to take validation rows from the training's.
        test_split: of its test split; none to take test rows from the training's, as where the set keeps the labels of its own secret.
        kwargs: as for `TextData`.

    Raises:
        ModuleNotFoundError: without `datasets`.
        ValueError: for a missing split or column, an empty cell, or an unknown label.
    """

    def __init__(
        self,
        dataset: str,
        name: str | None = None,
        inputs: dict[str, str] | list[str] | None = None,
        label_column: str = "label",
        class_names: list[str] | dict[str, str] | None = None,
        answer_column: str | None = None,
        further_columns: dict[str, str] | list[str] | None = None,
        train_split: str = "train",
        val_split: str | None = "validation",
        test_split: str | None = "test",
        **kwargs: Any,
    ) -> None:
        super().__init__(inputs, label_column, class_names, answer_column, further_columns, **kwargs)
        self.dataset, self.name = dataset, name
        self.split_names = {"train": train_split, "val": val_split, "test": test_split}

    def prepare_data(self) -> None:
        _datasets().load_dataset(self.dataset, self.name)

    def read(self) -> dict[str, TextTable]:
        loaded = _datasets().load_dataset(self.dataset, self.name)
        tables = {}
        for split, name in self.split_names.items():
            if name is None:
                continue
            if name not in loaded:
                raise ValueError(
                    f"{self.dataset} has no split {name!r}, but {list(loaded)}; set data.{split}_split"
                    + ("" if split == "train" else f", or data.{split}_split=null")
                )
            tables[split] = self._table(loaded[name], f"{self.dataset}/{name}")
        return tables

    def _table(self, split: Any, name: str) -> TextTable:
        columns = list(split.column_names)
        names = getattr(split.features.get(self.label_column), "names", None) if self.answer_column is None else None
        if names and not self.named:
            self.named = {str(k): class_name for k, class_name in enumerate(names)}
        wanted = {column for named in self._named_columns().values() for column in named}
        rows = [{column: cell_text(row[column]) for column in wanted & row.keys()} for row in split]
        table = TextTable(name, columns, rows, range(1, len(rows) + 1))
        if names and any(row[self.label_column] == "-1" for row in rows):
            raise ValueError(
                f"{name} keeps its labels secret; leave it out: data.val_split=null or data.test_split=null, which takes rows of training"
            )
        return table


def _datasets() -> Any:
    return load_extra("datasets", "HubTextData needs datasets", "datasets")
