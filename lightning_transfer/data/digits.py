"""Handwritten digits that come with scikit-learn."""

from typing import Any

import torch

from lightning_transfer.data.base import ImageData
from lightning_transfer.data.sources import ArraySource, ImageSource


class DigitsData(ImageData):
    """1,797 handwritten digits of 8x8 pixels, of the UCI repository's optical recognition set; nothing is downloaded.

    Args:
        kwargs: as for `ImageData`.

    Raises:
        ModuleNotFoundError: without scikit-learn.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    @property
    def class_names(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def sources(self) -> dict[str, ImageSource]:
        try:
            from sklearn.datasets import load_digits
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                'DigitsData needs scikit-learn: pip install "lightning_transfer[quickstart]"'
            ) from error
        digits = load_digits()
        images = (torch.from_numpy(digits.images) * (255 / 16)).round().to(torch.uint8)
        return {"train": ArraySource(images[:, None], torch.from_numpy(digits.target).long(), "digits")}
