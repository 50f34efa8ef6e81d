"""Centred and standardised embeddings, and heads that take the embeddings as they are."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_transfer.heads import LinearHead

_ROWS = 8192  # so that double precision is held for a part of the embeddings only


class Scaling(NamedTuple):
    """`(embedding - mean) / scale`.

    Shape:
        mean (D,), scale (D,), both float64.
    """

    mean: Tensor
    scale: Tensor

    def __call__(self, embedding: Tensor) -> Tensor:
        """Scale (N, D), in the precision of the embeddings."""
        return (embedding - self.mean.to(embedding.dtype)).div_(self.scale.to(embedding.dtype))

    def head(self, weight: Tensor, bias: Tensor, like: Tensor) -> LinearHead:
        """Make the head whose logits for raw embeddings are `scaled @ weight.T + bias`.

        Args:
            weight: (K, D) float64.
            bias: (K,) float64.
            like: embeddings whose precision and device the head takes.
        """
        head = LinearHead(weight.shape[1], weight.shape[0]).to(like)
        weight = weight / self.scale
        with torch.no_grad():
            head.weight.copy_(weight)
            head.bias.copy_(bias - weight @ self.mean)
        return head


def scaling(embedding: Tensor, standardise: bool) -> Scaling:
    """Mean, and standard deviation if wanted, of embeddings (N, D); what is constant keeps its scale.

    Args:
        embedding: of the training split.
        standardise: whether the scale is the standard deviation (over N) rather than 1.
    """
    parts = torch.split(embedding, _ROWS)
    count = len(embedding)
    mean = torch.stack([part.double().sum(0) for part in parts]).sum(0) / count
    mean = mean.to(embedding.dtype).double()  # so that what is taken off and what the head puts back are the same
    if not standardise:
        return Scaling(mean, torch.ones_like(mean))
    variance = torch.stack([(part.double() - mean).square().sum(0) for part in parts]).sum(0) / count
    deviation = variance.sqrt()
    # what rounding makes of a constant is no spread
    constant = deviation <= 1e-6 * mean.abs() + torch.finfo(torch.float32).tiny
    return Scaling(mean, torch.where(constant, 1.0, deviation))
