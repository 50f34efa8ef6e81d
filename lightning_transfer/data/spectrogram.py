"""Sound to a picture: time from left to right, pitch from top to bottom, brightness for loudness."""

import math

import torch
from torch import Tensor, nn

from lightning_transfer.parts import Part


class LogMel(Part, nn.Module):
    """Spectrogram with bands as wide as they are told apart by ear (mel), in decibels below its loudest place, as 8 bits.

    Args:
        rate: samples a second that recordings are brought to.
        seconds: length of every spectrogram: longer recordings are cut at their end, shorter ones lie in the middle of silence.
        bands: number of mel bands between 0 and half the rate, the height of the picture.
        window: length of the Hann window in seconds.
        hop: from one window to the next in seconds; one column of the picture each.
        decibels: what lies further below the loudest place is silence.

    Shape:
        wave (N,) float → uint8 (1, bands, columns), 255 at its loudest, 0 for silence; the lowest band is at the bottom

    Raises:
        ValueError: for values that are not positive, or more bands than the window can tell apart.

    Reference:
        Stevens, Volkmann, Newman, "A Scale for the Measurement of the Psychological Magnitude Pitch", JASA 1937; the bands are
        O'Shaughnessy's formula in triangles of height 1, as in HTK.
    """

    def __init__(
        self,
        rate: int = 16000,
        seconds: float = 1.0,
        bands: int = 64,
        window: float = 0.025,
        hop: float = 0.01,
        decibels: float = 80.0,
    ) -> None:
        super().__init__()
        for name, value in (("rate", rate), ("seconds", seconds), ("bands", bands), ("window", window), ("hop", hop)):
            if not value > 0:
                raise ValueError(f"{name}={value} of LogMel must be positive")
        if not decibels > 0:
            raise ValueError(f"decibels={decibels} of LogMel must be positive; 80 is common")
        self.rate, self.length = rate, round(rate * seconds)
        self.decibels = decibels
        self.window, self.hop = round(rate * window), round(rate * hop)
        self.points = 2 ** math.ceil(math.log2(self.window))  # of the transform, filled up with zeros
        filters = mel_filters(self.points // 2 + 1, bands, rate)
        if not filters.any(dim=1).all():
            most = next(n for n in range(bands, 0, -1) if mel_filters(self.points // 2 + 1, n, rate).any(dim=1).all())
            raise ValueError(
                f"bands={bands} of LogMel are more than a window of {window:g} s tells apart at rate={rate}; at most {most} would do"
            )
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("hann", torch.hann_window(self.window), persistent=False)

    filters: Tensor
    hann: Tensor

    def forward(self, wave: Tensor) -> Tensor:
        power = self.power(fitted(wave, self.length))
        loudest = power.max()
        if not loudest > 0:
            return torch.zeros(1, *power.shape, dtype=torch.uint8)
        level = 10 * torch.log10(power / loudest).clamp(min=-self.decibels / 10)
        return (255 * (1 + level / self.decibels)).round().to(torch.uint8).flip(0)[None]

    def power(self, wave: Tensor) -> Tensor:
        """Power in each band, (bands, columns), lowest band first; column t is centred on sample `t x hop`."""
        spectrum = torch.stft(
            wave, self.points, self.hop, self.window, self.hann, pad_mode="constant", return_complex=True
        )
        return self.filters @ spectrum.abs().square()


def fitted(wave: Tensor, length: int) -> Tensor:
    """Cut a wave (N,) at its end, or lay it in the middle of silence, so that it has `length` samples."""
    missing = length - len(wave)
    if missing <= 0:
        return wave[:length]
    return torch.cat([wave.new_zeros(missing // 2), wave, wave.new_zeros(missing - missing // 2)])


def mel_filters(frequencies: int, bands: int, rate: int) -> Tensor:
    """Triangles, (bands, frequencies), whose corners are evenly spaced in mel = 2595 log10(1 + Hz / 700).

    Args:
        frequencies: evenly from 0 to half the rate.
        bands: number of triangles.
        rate: samples a second.
    """
    top = 2595 * math.log10(1 + rate / 2 / 700)
    corners = 700 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64) / 2595) - 1)
    hertz = torch.linspace(0, rate / 2, frequencies, dtype=torch.float64)
    left, middle, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (hertz - left) / (middle - left), (right - hertz) / (right - middle)
    return torch.minimum(rising, falling).clamp(min=0).float()
