"""Sentences from film reviews, for or against the film."""

from pathlib import Path
from typing import Any

from lightning_transfer.contracts import TextRows
from lightning_transfer.data.index import data_root
from lightning_transfer.data.text import TextData
from lightning_transfer.data.text_table import read_table

_CLASSES = ["negative", "positive"]


class ReviewsData(TextData):
    """10,072 sentences from film reviews as field `text`; classes negative and positive, split 70/10/20.

    Args:
        root: folder made by `scripts/data/reviews.py`; `reviews` below LIGHTNING_TRANSFER_DATA or `./data` if not given.
        kwargs: as for `TextData`.

    Raises:
        FileNotFoundError: if a file of the folder is not there.
    """

    def __init__(self, root: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = data_root(root, "reviews")
        self.inputs = ["text"]

    @property
    def class_names(self) -> list[str]:
        return list(_CLASSES)

    def sources(self) -> dict[str, TextRows]:
        return {split: self._rows(self.root / f"{split}.csv") for split in ("train", "val", "test")}

    def _rows(self, file: Path) -> TextRows:
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} does not exist; `python scripts/data/reviews.py` makes it, or set data.root"
            )
        table = read_table(file, "root")
        table.require("root", ("text", "label"))
        return TextRows(table.fields({"text": "text"}), table.labels("label", {"0": 0, "1": 1}), name=table.names())
