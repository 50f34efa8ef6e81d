"""Whether embeddings still tell images apart."""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize


def relative_deviation(embedding: Tensor) -> Tensor:
    """Standard deviation of each dimension of embeddings of length 1, its mean over 1 / √D.

    Near 1 where embeddings lie in all directions, 0 where all are alike.

    Args:
        embedding: (N, D), N ≥ 2.

    Reference:
        Chen, He, "Exploring Simple Siamese Representation Learning", CVPR 2021, section 4.1.

    Example:
        >>> from torch import tensor
        >>> round(relative_deviation(tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])).item(), 4)
        1.0
    """
    deviation: Tensor = normalize(embedding.float()).std(dim=0, correction=0)
    return deviation.mean() * math.sqrt(embedding.shape[1])


def effective_rank(embedding: Tensor) -> Tensor:
    """Dimensions that embeddings spread over: exp of the entropy of the singular values' shares, after their mean is taken off.

    Between 1, one direction, and min(N, D), all alike; 0 where all embeddings are one.

    Args:
        embedding: (N, D).

    Reference:
        Roy, Vetterli, "The Effective Rank: A Measure of Effective Dimensionality", EUSIPCO 2007, definition 1.

    Example:
        >>> from torch import tensor
        >>> round(effective_rank(tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])).item(), 4)
        2.0
    """
    values = torch.linalg.svdvals((embedding - embedding.mean(dim=0)).double())
    total = values.sum()
    if total <= len(embedding) * torch.finfo(torch.float32).eps * embedding.abs().max():
        return torch.zeros((), device=embedding.device)
    entropy: Tensor = torch.special.entr(values / total).sum()
    return entropy.exp().float()
