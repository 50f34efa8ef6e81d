"""Snow, fog and light."""

import torch
from torch import Tensor

from lightning_transfer.data.corruptions.blur import enlarge, motion_blur, scaled
from lightning_transfer.data.corruptions.noise import Table


def snow(image: Tensor, constant: tuple[float, float, float, float, float, float, float]) -> Tensor:
    """Whiten the image, and let flakes fall across it.

    Args:
        image: (3, H, W).
        constant: mean and deviation of the noise that flakes are made of, their size, the noise that is none, length and deviation of
            their smear, and the share of the image that is not whitened.
    """
    mean, deviation, size, least, length, sigma, kept = constant
    noise = mean + deviation * torch.randn_like(image[:1])
    flakes = enlarge(noise, max(1.0, scaled(image, size)))
    flakes = torch.where(flakes < least, 0.0, flakes).clamp(0, 1)
    flakes = motion_blur(flakes, (length, sigma), (-135, -45))
    grey = (image * image.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0, keepdim=True)
    white = kept * image + (1 - kept) * torch.maximum(image, 1.5 * grey + 0.5)
    return white + flakes + flakes.rot90(2, (1, 2))


def fog(image: Tensor, strength_and_decay: tuple[float, float]) -> Tensor:
    """Lay a cloud over the image."""
    strength, decay = strength_and_decay
    height, width = image.shape[-2:]
    cloud = plasma(max(height, width), decay)[:height, :width].to(image)
    brightest = image.max()
    return (image + strength * cloud) * brightest / (brightest + strength)


def plasma(size: int, decay: float) -> Tensor:
    """A fractal cloud in [0, 1] by the diamond-square algorithm, periodic at its borders.

    Args:
        size: side at least; it becomes a power of two.
        decay: more is smoother; from one scale to the half of it the noise falls by the square of this.
    """
    side = 1 << max(1, (size - 1).bit_length())
    cloud, noise, step = torch.zeros(side, side), 1.0, side

    def mean(total: Tensor) -> Tensor:
        return total / 4 + noise * torch.empty_like(total).uniform_(-1, 1)

    while step >= 2:
        half = step // 2
        corners = cloud[::step, ::step]
        pairs = corners + corners.roll(-1, 0)
        cloud[half::step, half::step] = mean(pairs + pairs.roll(-1, 1))
        middles = cloud[half::step, half::step]
        cloud[::step, half::step] = mean(middles + middles.roll(1, 0) + corners + corners.roll(-1, 1))
        cloud[half::step, ::step] = mean(middles + middles.roll(1, 1) + corners + corners.roll(-1, 0))
        step, noise = half, noise / decay**2  # squared in the original, which multiplies its noise by its own amplitude
    cloud -= cloud.min()
    return cloud / cloud.max().clamp(min=1e-12)


def brightness(image: Tensor, amount: float) -> Tensor:
    """Raise the value of hue, saturation and value; what would exceed 1 is cut off."""
    value = image.amax(dim=0, keepdim=True)
    raised = (value + amount).clamp(max=1)
    return torch.where(value > 0, image * raised / value.clamp(min=1e-12), raised)


WEATHER: Table = {
    "snow": (
        snow,
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "fog": (fog, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    "brightness": (brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
}
