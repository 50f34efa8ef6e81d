"""Of each image and each text it is to be told whether they belong together."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lightning_transfer.losses.pair.image_text import ImageTextLoss, duplicates


class PairwiseSigmoid(ImageTextLoss):
    """Binary cross-entropy over all pairs of an image with a text, summed over a row and averaged over rows.

    Pairs that only share a caption with a right one are left out.

    Args:
        chunk: as for `ImageTextLoss`.

    Shape:
        as for `ImageTextLoss`; ≥ 0

    Raises:
        ValueError: as for `ImageTextLoss`, and without a bias.

    Reference:
        Zhai, Mustafa, Kolesnikov, Beyer, "Sigmoid Loss for Language Image Pre-Training", ICCV 2023, equation 1 and algorithm 1.

    Deviation:
        Duplicates of a caption are no negatives.

    Example:
        >>> image, scale, bias = torch.eye(2), torch.tensor(2.0), torch.tensor(-1.0)
        >>> round(PairwiseSigmoid()(image, image, scale, bias).item(), 4)
        0.6265
        >>> round(PairwiseSigmoid()(image, image, scale, bias, torch.tensor([7, 7])).item(), 4)
        0.3133
    """

    initial_scale = 10.0
    initial_bias = -10.0

    def total(
        self,
        image: Tensor,
        text: Tensor,  # each pair counts once: all texts are in `texts`
        images: Tensor,
        texts: Tensor,
        scale: Tensor,
        bias: Tensor | None,
        groups: Tensor | None,
        first: int,
    ) -> Tensor:
        if bias is None:
            raise ValueError(
                "PairwiseSigmoid needs a bias, or the many wrong pairs outweigh the right ones from the start; set bias=-10 of the model"
            )
        return self.sum_rows(image, texts, scale, bias.float(), groups, first)

    def rows(
        self, own: Tensor, others: Tensor, scale: Tensor, bias: Tensor | None, groups: Tensor | None, first: int
    ) -> Tensor:
        scores = (scale * own) @ others.T
        if bias is not None:
            scores = scores + bias
        right = torch.zeros_like(scores, dtype=torch.bool)
        right.diagonal(first).fill_(True)
        apart = right if groups is None else right | duplicates(groups, first, len(own))
        return softplus(scores).masked_fill(apart, 0.0).sum() + softplus(-scores.diagonal(first)).sum()
