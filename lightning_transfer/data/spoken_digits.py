"""Spoken digits, zero to nine, by voices that no other split has."""

import csv
from typing import Any

import torch

from lightning_transfer.data.index import data_root
from lightning_transfer.data.recordings import SoundSource
from lightning_transfer.data.sound import SoundData
from lightning_transfer.data.sources import ImageSource


class SpokenDigitsData(SoundData):
    """1,760 digits spoken by 44 synthetic voices in four accents of English; train, val and test have different voices.

    Args:
        root: folder made by `scripts/data/spoken_digits.py`; `spoken_digits` below LIGHTNING_TRANSFER_DATA or `./data` if not given.
        kwargs: as for `SoundData`.

    Raises:
        FileNotFoundError: if the folder is not there.
    """

    def __init__(self, root: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = data_root(root, "spoken_digits")

    @property
    def class_names(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def sources(self) -> dict[str, ImageSource]:
        index = self.root / "index.csv"
        if not index.is_file():
            raise FileNotFoundError(
                f"{index} does not exist; `python scripts/data/spoken_digits.py` makes it, or set data.root"
            )
        with index.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {split: self._of([row for row in rows if row["split"] == split]) for split in ("train", "val", "test")}

    def _of(self, rows: list[dict[str, str]]) -> ImageSource:
        targets = torch.tensor([int(row["digit"]) for row in rows])
        return SoundSource([self.root / row["audio"] for row in rows], self.spectrogram, targets)
