"""Stamps by their spoken descriptions, with the picture beside."""

from typing import Any, Literal, get_args

import torch
from torch import nn

from lightning_transfer.contracts import TransformFactory
from lightning_transfer.data.recordings import SoundSource
from lightning_transfer.data.sound import SoundData
from lightning_transfer.data.sources import ImageSource, Subset
from lightning_transfer.data.spectrogram import LogMel
from lightning_transfer.data.stamps import StampsData
from lightning_transfer.data.transforms import EvalTransform

Language = Literal["fr", "es", "ro", "ru"]


class SpokenStampsData(SoundData):
    """Categories of stamps by what a voice says of them, in the splits of `StampsData`; the picture goes along as modality `picture`.

    A picture without a description in the language is left out.

    Args:
        root: as for `StampsData`, made with `--speech`.
        language: fr French, es Spanish, ro Romanian, ru Russian.
        label: as for `StampsData`.
        min_per_class: as for `StampsData`; counted over all pictures, so that both have the same classes.
        spectrogram: as for `SoundData`; of 2.5 seconds if not given.
        picture_size: side of the pictures in pixels.
        picture_transform: made of it, for pictures.
        kwargs: as for `SoundData`.

    Raises:
        FileNotFoundError: if the folder is not there.
        ValueError: for another language, or if the set was made without speech.
    """

    def __init__(
        self,
        root: str | None = None,
        language: Language = "fr",
        label: Literal["category", "subcategory"] = "category",
        min_per_class: int = 20,
        spectrogram: LogMel | None = None,
        picture_size: int = 128,
        picture_transform: TransformFactory = EvalTransform,
        **kwargs: Any,
    ) -> None:
        super().__init__(spectrogram=spectrogram or LogMel(seconds=2.5), **kwargs)
        if language not in get_args(Language):
            raise ValueError(f"data.language={language!r} must be one of {', '.join(get_args(Language))}")
        self.language = language
        self.picture_size, self.picture_transform = picture_size, picture_transform
        fractions = {"val_fraction": self.division.val_fraction, "test_fraction": self.division.test_fraction}
        self.stamps = StampsData(root, label, min_per_class, split_seed=self.division.seed, **fractions)

    @property
    def class_names(self) -> list[str]:
        return self.stamps.class_names

    def transform_of(self, modality: str) -> nn.Module | None:
        return self.picture_transform(self.picture_size)

    def sources(self) -> dict[str, ImageSource]:
        root, column = self.stamps.root, f"speech_{self.language}"
        spoken = {str(root / row["image"]): root / row[column] for row in self.stamps.rows() if row.get(column)}
        if not spoken:
            raise ValueError(f"{root} has no {column}; `python scripts/data/stamps.py --speech` makes it")
        found: dict[str, ImageSource] = {}
        for split, pictures in self.stamps.splits().items():
            kept = Subset(pictures, torch.tensor([i for i, name in enumerate(pictures.names) if name in spoken]))
            paths = [spoken[name] for name in kept.names]
            found[split] = SoundSource(paths, self.spectrogram, kept.targets, kept.groups)
            found[split].others = {"picture": kept}
            found[split].captions = kept.captions
        return found
