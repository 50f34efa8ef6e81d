"""Captioned pictures of things, animals and people."""

from typing import Any, Literal

import torch

from lightning_transfer.data.base import ImageData
from lightning_transfer.data.index import data_root, read_index
from lightning_transfer.data.sources import FileSource, ImageSource


class StampsData(ImageData):
    """Photos and drawings of Tux Paint's stamps, by category, with captions; pictures of one caption stay on one side of a split.

    Args:
        root: folder made by `scripts/data/stamps.py`; `stamps` below LIGHTNING_TRANSFER_DATA or `./data` if not given.
        label: which column of its index is the label.
        min_per_class: classes with fewer pictures are left out.
        kwargs: as for `ImageData`.

    Raises:
        FileNotFoundError: if the folder is not there.
        ValueError: for another label, or if no class has enough pictures.
    """

    def __init__(
        self,
        root: str | None = None,
        label: Literal["category", "subcategory"] = "category",
        min_per_class: int = 20,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = data_root(root, "stamps")
        self.label = label
        self.min_per_class = min_per_class

    def rows(self) -> list[dict[str, str]]:
        """Rows of the index whose class has enough pictures."""
        return read_index(self.root, self.label, self.min_per_class)

    @property
    def class_names(self) -> list[str]:
        return sorted({row[self.label] for row in self.rows()})

    def sources(self) -> dict[str, ImageSource]:
        rows, names = self.rows(), self.class_names
        targets = torch.tensor([names.index(row[self.label]) for row in rows])
        captions = [row["caption"] for row in rows]
        source = FileSource([self.root / row["image"] for row in rows], targets, groups=captions)
        source.captions = captions
        return {"train": source}
