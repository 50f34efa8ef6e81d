"""Where ways are, and how near queries are to them."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import normalize

Distance = Literal["squared_euclid", "cosine"]


def check_distance(rule: object, distance: str) -> None:
    """Refuse a distance that there is not.

    Raises:
        ValueError: naming those that there are.
    """
    if distance not in get_args(Distance):
        known = " or ".join(get_args(Distance))
        raise ValueError(f"distance={distance!r} of {type(rule).__name__} must be {known}")


def prototypes(support: Tensor, labels: Tensor) -> Tensor:
    """The mean of each way's examples.

    Shape:
        support (E, S, D), labels (E, S, K), which may be shares → (E, K, D)
    """
    return labels.mT @ support / labels.sum(dim=1).unsqueeze(-1)


def similarity(query: Tensor, ways: Tensor, distance: Distance) -> Tensor:
    """Cosines, or negative squared Euclidean distances.

    Shape:
        query (E, Q, D), ways (E, K, D) → (E, Q, K)
    """
    if distance == "cosine":
        return normalize(query, dim=-1) @ normalize(ways, dim=-1).mT
    return -squared_distances(query, ways)


def relative(embedding: Tensor, ways: Tensor, distance: Distance) -> Tensor:
    """Similarities up to what all ways have in common, which no softmax sees; for many steps of the ways, as embeddings are not copied.

    Args:
        embedding: (E, N, D), of unit length for cosines.
        ways: (E, K, D).
        distance: which.
    """
    if distance == "cosine":
        return embedding @ normalize(ways, dim=-1).mT
    return torch.baddbmm(-vector_norm(ways, dim=-1).square().unsqueeze(1), embedding, ways.mT, alpha=2)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances of (E, N, D) and (E, M, D), (E, N, M).

    By one matrix product, which has a gradient everywhere; about the mean of b, so that what all have in common does not take the digits.
    """
    centre = b.mean(dim=-2, keepdim=True)
    a, b = a - centre, b - centre
    lengths = vector_norm(a, dim=-1).square().unsqueeze(-1) + vector_norm(b, dim=-1).square().unsqueeze(-2)
    return torch.baddbmm(lengths, a, b.mT, alpha=-2)
