"""Nearest neighbours."""

import torch
from torch import Tensor

from lightning_transfer.fewshot.base import EpisodeRule, check_range
from lightning_transfer.fewshot.distances import Distance, check_distance, similarity

_LEAST = 1e-7  # a way without a vote has this share, so that its logarithm is a number


class NearestNeighbour(EpisodeRule):
    """The k nearest examples vote for their ways; logits are the logarithms of the shares of votes.

    The n-th nearest has 1 + 2⁻ⁿ votes: of ways with as many neighbours, that of the nearest wins, and no others change places.

    Args:
        k: number of neighbours, ≥ 1, at most the number of examples.
        distance: `cosine` or `squared_euclid`.

    Raises:
        ValueError: for values out of range.

    Reference:
        Cover, Hart, "Nearest neighbor pattern classification", IEEE Transactions on Information Theory 1967.
    """

    def __init__(self, k: int = 1, distance: Distance = "cosine") -> None:
        super().__init__()
        check_range(self, "k", k, 1, inclusive=True, hint="1 is common")
        check_distance(self, distance)
        self.k, self.distance = k, distance

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        if self.k > support.shape[1]:
            raise ValueError(
                f"k={self.k} of NearestNeighbour is more than the {support.shape[1]} images of the support; take at most as many"
            )
        nearest = similarity(query, support, self.distance).topk(self.k, dim=-1).indices
        vote = 1 + 0.5 ** torch.arange(1, self.k + 1, dtype=query.dtype, device=query.device)
        votes = torch.zeros_like(query[..., :1]).expand(-1, -1, support.shape[1])
        votes = votes.scatter(-1, nearest, vote.expand_as(nearest)) @ labels
        return (votes / vote.sum()).clamp(min=_LEAST).log()
