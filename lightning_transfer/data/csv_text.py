"""Texts in files of one's own."""

from pathlib import Path
from typing import Any

from lightning_transfer.data.tabular_text import TabularTextData
from lightning_transfer.data.text_table import TextTable, read_table


class CsvTextData(TabularTextData):
    """Texts and their labels, or free answers, in files: `.csv`, `.tsv` or `.jsonl` (an object a line).

    Args:
        train: the file of the training rows; where no others are given, of all rows.
        val: that of the validation.
        test: that of the test.
        inputs: columns by the field that a question shows it as, or fields that are named like their columns; `{text}` in a template is
            the field `text`. If not given, the column `text`.
        label_column: heading of the labels.
        class_names: names of the classes: a list, in which the labels 0, 1, ... number them or which are the labels themselves; or names
            by label, several labels of one name being one class; the labels, sorted, if not given.
        answer_column: heading of free answers, which are given instead of classes.
        further_columns: as `inputs`, for fields that worked examples alone show.
        kwargs: as for `TextData`.

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: for a missing column, an empty cell or an unknown label, naming file and row.
    """

    def __init__(
        self,
        train: str,
        val: str | None = None,
        test: str | None = None,
        inputs: dict[str, str] | list[str] | None = None,
        label_column: str = "label",
        class_names: list[str] | dict[str, str] | None = None,
        answer_column: str | None = None,
        further_columns: dict[str, str] | list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(inputs, label_column, class_names, answer_column, further_columns, **kwargs)
        self.files = {"train": train, "val": val, "test": test}

    def read(self) -> dict[str, TextTable]:
        return {split: read_table(Path(file), split) for split, file in self.files.items() if file is not None}
