"""Noise of the sensor."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Table = dict[
    str, tuple[Callable[[Tensor, Any], Tensor], Sequence[Any]]
]  # name: function, and constants of severity 1 to 5


def gaussian_noise(image: Tensor, scale: float) -> Tensor:
    """Add normal noise of a standard deviation, as in little light."""
    return image + scale * torch.randn_like(image)


def shot_noise(image: Tensor, photons: float) -> Tensor:
    """Count photons, of which white gives so many on average."""
    return torch.poisson(image * photons) / photons


def impulse_noise(image: Tensor, share: float) -> Tensor:
    """Set a share of the values to 0 or 1, as broken bits do."""
    extreme = (torch.rand_like(image) < 0.5).to(image.dtype)
    return torch.where(torch.rand_like(image) < share, extreme, image)


def speckle_noise(image: Tensor, scale: float) -> Tensor:
    """Add normal noise in proportion to the value."""
    return image + image * scale * torch.randn_like(image)


NOISES: Table = {
    "gaussian_noise": (gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": (shot_noise, (60, 25, 12, 5, 3)),
    "impulse_noise": (impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "speckle_noise": (speckle_noise, (0.15, 0.2, 0.35, 0.45, 0.6)),
}
