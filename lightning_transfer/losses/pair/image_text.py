"""What losses of images and texts share: pairs over all processes, duplicates of a caption, and memory that grows with the batch alone."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lightning_transfer.losses.gather import gathered, gathered_with_gradient, mean_of_all
from lightning_transfer.parts import Part


class ImageTextLoss(Part, nn.Module, ABC):
    """Compares each image of a batch with each text, over all processes; B² scores in all.

    A batch of more than `chunk` pairs is compared `chunk` rows at a time, and these scores are computed again for the gradient, so
    that chunk x B of them are in memory at once instead of B². Loss and gradient are the same.

    Two images may have one caption. The caption of the one is then no wrong answer for the other: such pairs off the diagonal are left out,
    and what a pair costs is what it would cost without duplicates in the batch. (As further positives they would be counted in a softmax
    whose least value then is the logarithm of their number and not 0.)

    Args:
        chunk: rows of scores at a time, ≥ 1.

    Shape:
        image (B, D) and text (B, D) of unit length; scale scalar; bias scalar, or none; group (B,) int64, equal for equal captions, or
        none where all differ → scalar, in nats

    Raises:
        ValueError: for a chunk below 1, or unequal numbers of images and texts.
    """

    initial_scale: ClassVar[float]
    initial_bias: ClassVar[float | None] = None

    def __init__(self, chunk: int = 1024) -> None:
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk={chunk} of {type(self).__name__} must be at least 1; 1024 is common")
        self.chunk = chunk

    def forward(
        self, image: Tensor, text: Tensor, scale: Tensor, bias: Tensor | None = None, group: Tensor | None = None
    ) -> Tensor:
        if image.shape != text.shape:
            raise ValueError(
                f"the images' vectors are {tuple(image.shape)} and the texts' {tuple(text.shape)}; a loss of pairs needs one text an "
                "image, of one width"
            )
        # single precision: a sum of exponentials over thousands of texts has no digits left in half precision
        with torch.autocast(image.device.type, enabled=False):
            image, text, scale = image.float(), text.float(), scale.float()
            images, first = gathered_with_gradient(image)
            texts, _ = gathered_with_gradient(text)
            groups = None if group is None else gathered(group)[0]
            total = self.total(image, text, images, texts, scale, bias, groups, first)
            return mean_of_all(total, len(images))

    @abstractmethod
    def total(
        self,
        image: Tensor,
        text: Tensor,
        images: Tensor,
        texts: Tensor,
        scale: Tensor,
        bias: Tensor | None,
        groups: Tensor | None,
        first: int,
    ) -> Tensor:
        """Sum over this process's pairs, which are those from `first` on of all processes' `images` and `texts`."""

    @abstractmethod
    def rows(
        self, own: Tensor, others: Tensor, scale: Tensor, bias: Tensor | None, groups: Tensor | None, first: int
    ) -> Tensor:
        """Sum over rows of scores, own (N, D) against others (B, D), where row i belongs to column first + i."""

    def sum_rows(
        self, own: Tensor, others: Tensor, scale: Tensor, bias: Tensor | None, groups: Tensor | None, first: int
    ) -> Tensor:
        """Sum over all rows, a chunk of them at a time."""
        if len(own) <= self.chunk:
            return self.rows(own, others, scale, bias, groups, first)
        total = own.new_zeros(())
        for start in range(0, len(own), self.chunk):
            part = own[start : start + self.chunk]
            arguments = part, others, scale, bias, groups, first + start
            total = total + checkpoint(self.rows, *arguments, use_reentrant=False, preserve_rng_state=False)
        return total


def duplicates(groups: Tensor, first: int, count: int) -> Tensor:
    """Which columns have the caption of a row without belonging to it, (count, B) bool, for rows from `first` on."""
    alike = groups[first : first + count, None] == groups
    alike.diagonal(first).fill_(False)
    return alike
