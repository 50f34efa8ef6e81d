"""Of all texts of a batch the image's own is to be found, and of all images the text's own."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_transfer.losses.pair.image_text import ImageTextLoss, duplicates


class SymmetricCrossEntropy(ImageTextLoss):
    """Mean of two cross-entropies: of the softmax over the texts for each image, and over the images for each text.

    Without similarity it is ln B. Duplicates of a pair's caption are left out of its softmax. A bias would cancel out and is not looked at.

    Args:
        chunk: as for `ImageTextLoss`.

    Shape:
        as for `ImageTextLoss`; ≥ 0

    Raises:
        ValueError: as for `ImageTextLoss`.

    Reference:
        Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, figure 3.

    Deviation:
        Duplicates of a caption are no negatives.

    Example:
        >>> image, scale = torch.eye(2), torch.tensor(1.0)
        >>> round(SymmetricCrossEntropy()(image, image, scale).item(), 4)
        0.3133
        >>> round(SymmetricCrossEntropy()(image, image, scale, group=torch.tensor([7, 7])).item(), 4)
        0.0
    """

    initial_scale = 1 / 0.07

    def total(
        self,
        image: Tensor,
        text: Tensor,
        images: Tensor,
        texts: Tensor,
        scale: Tensor,
        bias: Tensor | None,  # cancels out
        groups: Tensor | None,
        first: int,
    ) -> Tensor:
        of_images = self.sum_rows(image, texts, scale, None, groups, first)
        return (of_images + self.sum_rows(text, images, scale, None, groups, first)) / 2

    def rows(
        self,
        own: Tensor,
        others: Tensor,
        scale: Tensor,
        bias: Tensor | None,
        groups: Tensor | None,
        first: int,
    ) -> Tensor:
        scores = (scale * own) @ others.T
        if groups is not None:
            scores = scores.masked_fill(duplicates(groups, first, len(own)), float("-inf"))
        return cross_entropy(scores, first + torch.arange(len(own), device=own.device), reduction="sum")
