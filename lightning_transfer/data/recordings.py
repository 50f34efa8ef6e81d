"""Recordings: sound files to waves, and to spectrograms that are images like others."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lightning_transfer.data.sources import FileSource
from lightning_transfer.data.spectrogram import LogMel
from lightning_transfer.extras import load_extra
from lightning_transfer.parts import describe

SOUNDS = (".ogg", ".wav", ".flac", ".mp3", ".opus", ".aif", ".aiff")


class SoundSource(FileSource):
    """Sound files as spectrograms.

    Args:
        paths: N files.
        spectrogram: of each.
        targets: as for `FileSource`.
        groups: as for `ImageSource`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        spectrogram: LogMel,
        targets: Tensor | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        super().__init__(paths, targets, groups)
        self.spectrogram = spectrogram

    def image(self, index: int) -> Tensor:
        grey: Tensor = self.spectrogram(read_sound(self.names[index], self.spectrogram.rate))
        return grey.expand(3, -1, -1)

    def version(self, index: int) -> bytes:
        return super().version(index) + repr(describe(self.spectrogram)).encode()


def read_sound(path: str | Path, rate: int) -> Tensor:
    """Read a sound file as one channel, (N,) float in [-1, 1].

    Args:
        path: file; several channels are averaged.
        rate: samples a second of the result.

    Raises:
        FileNotFoundError: for a file that does not exist.
        ModuleNotFoundError: without the package soundfile.
        ValueError: naming the file, if it is truncated, empty or no sound.
    """
    soundfile = load_extra("audio", "sound files need soundfile", "soundfile")
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        samples, own = soundfile.read(path, dtype="float32", always_2d=True)
    except (RuntimeError, ValueError) as error:  # its own error is a RuntimeError
        raise ValueError(f"{path} cannot be read as a sound: {str(error).split(': ')[-1].rstrip('.')}") from error
    if not len(samples):
        raise ValueError(f"{path} cannot be read as a sound: it is empty")
    return resampled(torch.from_numpy(samples).mean(dim=1), own, rate)


def resampled(wave: Tensor, own: int, rate: int) -> Tensor:
    """Bring a wave (N,) from `own` samples a second to `rate`, without what the new rate cannot hold (by Fourier transform)."""
    if own == rate:
        return wave
    length = max(1, round(len(wave) * rate / own))
    found: Tensor = torch.fft.irfft(torch.fft.rfft(wave)[: length // 2 + 1], n=length)
    return found * (length / len(wave))


def sound_files(folder: Path) -> list[Path]:
    """All sound files below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUNDS and path.is_file())
