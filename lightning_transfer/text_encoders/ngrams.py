"""Texts by their letters."""

import zlib

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_transfer.text_encoders.base import TextEncoder


class CharacterNGrams(TextEncoder):
    """Counts of runs of letters: texts are alike that are spelt alike, whatever they mean. Needs no further package.

    Capitals count as small letters, and the ends of the text as a space.

    Args:
        length: n ≥ 1 letters a run.
        buckets: D ≥ 1, over which the runs are spread by a checksum.

    Shape:
        N texts → (N, buckets), of unit length

    Raises:
        ValueError: for values out of range.

    Example:
        >>> same, alike, other = CharacterNGrams()(["sea lion", "sea lions", "teapot"])
        >>> bool(same @ alike > 0.8), bool(same @ other < 0.2)
        (True, True)
    """

    def __init__(self, length: int = 3, buckets: int = 4096) -> None:
        for name, value in (("length", length), ("buckets", buckets)):
            if value < 1:
                raise ValueError(f"{name}={value} of CharacterNGrams must be at least 1")
        self.length, self.buckets = length, buckets

    def __call__(self, texts: list[str]) -> Tensor:
        counts = torch.zeros(len(texts), self.buckets)
        for row, text in zip(counts, texts, strict=True):
            padded = f" {text.lower()} "
            for start in range(max(1, len(padded) - self.length + 1)):
                row[zlib.crc32(padded[start : start + self.length].encode()) % self.buckets] += 1
        return normalize(counts)
