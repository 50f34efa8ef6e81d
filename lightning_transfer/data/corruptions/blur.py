"""Blur of lens and hand; lengths are in pixels of an image of 224, and grow with its side."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from lightning_transfer.data.corruptions.noise import Table


def scaled(image: Tensor, length: float) -> float:
    """Turn a length in an image of 224 pixels into one of the same share of this image."""
    return length * min(image.shape[-2:]) / 224


def convolve(image: Tensor, kernel: Tensor, border: Literal["replicate", "reflect"]) -> Tensor:
    """Filter each channel.

    Args:
        image: (C, H, W).
        kernel: (h, w), both odd, summing to 1.
        border: whether beyond the border its pixels go on, or the image is mirrored at them.
    """
    h, w = kernel.shape
    padded = pad(image.unsqueeze(1), (w // 2, w // 2, h // 2, h // 2), mode=border)
    return conv2d(padded, kernel.to(image).expand(1, 1, h, w)).squeeze(1)


def gaussian_filter(image: Tensor, sigma: float, border: Literal["replicate", "reflect"], truncate: float) -> Tensor:
    """Blur (C, H, W) by a Gaussian of a standard deviation in pixels, cut off at so many of them.

    Args:
        image: (C, H, W).
        sigma: in pixels.
        border: whether beyond the border its pixels go on, or the image is mirrored, these pixels included.
        truncate: in sigmas.
    """
    height, width = image.shape[-2:]
    return _smoothing(height, sigma, border, truncate) @ image @ _smoothing(width, sigma, border, truncate).T


def _smoothing(size: int, sigma: float, border: str, truncate: float) -> Tensor:
    """The matrix (size, size) by which a Gaussian blurs a row; unlike a convolution it may be wider than the row."""
    radius = max(1, round(truncate * sigma))
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-offsets.square() / (2 * sigma**2))
    source = torch.arange(size)[:, None] + offsets
    if border == "reflect":
        source = source % (2 * size)
        source = torch.where(source < size, source, 2 * size - 1 - source)
    source = source.clamp(0, size - 1)
    return torch.zeros(size, size).scatter_add_(1, source, (weights / weights.sum()).expand(size, -1))


def enlarge(image: Tensor, factor: float) -> Tensor:
    """Zoom into the middle of (C, H, W), bilinearly."""
    height, width = image.shape[-2:]
    h, w = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - h) // 2, (width - w) // 2
    middle = image[None, :, top : top + h, left : left + w]
    larger = interpolate(middle, size=(round(h * factor), round(w * factor)), mode="bilinear", align_corners=True)[0]
    top, left = (larger.shape[-2] - height) // 2, (larger.shape[-1] - width) // 2
    return larger[:, top : top + height, left : left + width]


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian."""
    return gaussian_filter(image, scaled(image, sigma), "replicate", truncate=4)


def defocus_blur(image: Tensor, radius: float) -> Tensor:
    """Blur by a disc, as a lens out of focus does."""
    r = scaled(image, radius)
    axis = torch.arange(-math.ceil(r), math.ceil(r) + 1).float()
    disc = (r + 0.5 - torch.hypot(axis[:, None], axis[None])).clamp(0, 1)
    return convolve(image, disc / disc.sum(), "reflect")


def motion_blur(
    image: Tensor, radius_and_sigma: tuple[float, float], degrees: tuple[float, float] = (-45, 45)
) -> Tensor:
    """Smear along a line of random direction, ever fainter (a Gaussian's half), as ImageMagick does."""
    radius, sigma = (scaled(image, length) for length in radius_and_sigma)
    angle = math.radians(torch.empty(()).uniform_(*degrees).item())
    reach = max(1, round(2 * radius))
    kernel = torch.zeros(2 * reach + 1, 2 * reach + 1)
    for i in range(reach + 1):
        y, x = reach + round(i * math.sin(angle)), reach + round(i * math.cos(angle))
        kernel[y, x] += math.exp(-(i**2) / (2 * sigma**2))
    return convolve(image, kernel / kernel.sum(), "replicate")


def zoom_blur(image: Tensor, end_and_step: tuple[float, float]) -> Tensor:
    """Average the image with ever larger versions of itself, as when the camera moves on."""
    end, step = end_and_step
    factors = [1 + step * i for i in range(round((end - 1) / step) + 1)]
    return torch.stack([image, *(enlarge(image, factor) for factor in factors)]).mean(dim=0)


BLURS: Table = {
    "defocus_blur": (defocus_blur, (3, 4, 6, 8, 10)),
    "motion_blur": (motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    "zoom_blur": (zoom_blur, ((1.11, 0.01), (1.15, 0.01), (1.2, 0.02), (1.24, 0.02), (1.3, 0.03))),
    "gaussian_blur": (gaussian_blur, (1, 2, 3, 4, 6)),
}
