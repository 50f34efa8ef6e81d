"""Transforms of spectrograms, whose axes are time and pitch: nothing is cropped, mirrored or turned."""

import torch
from torch import Tensor, nn

from lightning_transfer.data.transforms import WholeTransform
from lightning_transfer.parts import Part


class SpecAugment(Part, nn.Module):
    """A spectrogram moved in time, resized to a square, with a stretch of time and a range of pitch silenced.

    Args:
        size: side of the result in pixels.
        shift: largest way, as a share of the length, by which it is moved to either side; silence follows.
        time: largest share of the time that is silenced, evenly drawn from 0.
        pitch: largest share of the bands that is silenced, likewise.

    Raises:
        ValueError: for shares outside [0, 1).

    Reference:
        Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition", Interspeech 2019, section 2.

    Deviation:
        A shift instead of the warp in time, which the authors found to matter least; one mask of each kind; masks are silent, where
        theirs have the mean value.
    """

    def __init__(self, size: int, shift: float = 0.1, time: float = 0.2, pitch: float = 0.2) -> None:
        super().__init__()
        for name, share in (("shift", shift), ("time", time), ("pitch", pitch)):
            if not 0 <= share < 1:
                raise ValueError(f"{name}={share} of SpecAugment is a share and lies in [0, 1)")
        self.shift, self.time, self.pitch = shift, time, pitch
        self.whole = WholeTransform(size)

    def forward(self, image: Tensor) -> Tensor:
        columns = image.shape[-1]
        image = self.whole(moved(image, round((2 * _draw() - 1) * self.shift * columns))).clone()
        size = image.shape[-1]
        for share, part in ((self.time, image), (self.pitch, image.transpose(-2, -1))):
            width = int(_draw() * (share * size + 1))
            start = int(_draw() * (size - width + 1))
            part[..., start : start + width] = 0
        return image


def moved(image: Tensor, columns: int) -> Tensor:
    """Move an image to the right (to the left if negative), with zeros behind it."""
    found = torch.zeros_like(image)
    width = image.shape[-1]
    found[..., max(columns, 0) : width + min(columns, 0)] = image[..., max(-columns, 0) : width - max(columns, 0)]
    return found


def _draw() -> float:
    return torch.rand(()).item()
