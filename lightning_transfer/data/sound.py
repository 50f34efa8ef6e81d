"""What datamodules of recordings share: a spectrogram is the image."""

from abc import ABC
from pathlib import Path
from typing import Any

from lightning_transfer.contracts import TransformFactory
from lightning_transfer.data.base import ImageData
from lightning_transfer.data.recordings import SOUNDS, SoundSource, sound_files
from lightning_transfer.data.sources import ImageSource
from lightning_transfer.data.spec_augment import SpecAugment
from lightning_transfer.data.spectrogram import LogMel
from lightning_transfer.data.transforms import WholeTransform


class SoundData(ImageData, ABC):
    """Base of datamodules whose images are spectrograms, resized to squares of `image_size`.

    Args:
        spectrogram: how recordings become images; `LogMel()` if not given.
        train_transform: as for `ImageData`; what suits photos, mirroring for example, does not suit spectrograms.
        eval_transform: as for `ImageData`.
        predict_path: a folder of recordings, or one file, for `predict`; the test split if not given.
        kwargs: as for `ImageData`.
    """

    def __init__(
        self,
        spectrogram: LogMel | None = None,
        train_transform: TransformFactory = SpecAugment,
        eval_transform: TransformFactory = WholeTransform,
        predict_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            train_transform=train_transform, eval_transform=eval_transform, predict_path=predict_path, **kwargs
        )
        self.spectrogram = spectrogram or LogMel()

    def unlabelled(self, path: Path) -> ImageSource:
        if not path.exists():
            raise FileNotFoundError(f"data.predict_path={str(path)!r} is neither a folder nor a file")
        files = [path] if path.is_file() else sound_files(path)
        if not files:
            raise ValueError(f"data.predict_path={str(path)!r} holds no recordings ({', '.join(SOUNDS)})")
        return SoundSource(files, self.spectrogram)
