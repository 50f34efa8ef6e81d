"""Neighbouring queries are answered alike."""

import torch
from torch import Tensor

from lightning_transfer.fewshot.base import check_range
from lightning_transfer.fewshot.bd_cspn import rectified
from lightning_transfer.fewshot.distances import prototypes, squared_distances
from lightning_transfer.fewshot.transform import Transform, TransformedRule


class LaplacianShot(TransformedRule):
    """Distances to prototypes, and a reward for what a query's nearest other queries are taken for.

    Starting from Y = softmax(−A), Y ← softmax(−A + strength · W Y), where A are squared distances to prototypes and W is 1 for a query's
    nearest others. The objective itself supposes nothing of how often each way is asked for; prototypes that are rectified do (`BDCSPN`).

    Args:
        strength: of the reward, ≥ 0; 0 leaves the nearest prototype.
        neighbours: other queries that are nearest to each, ≥ 1; all where there are fewer.
        steps: of the iteration, ≥ 1; the authors stop after 20 at the latest.
        rectify: whether the prototypes are those of `BDCSPN`.
        scale: of the cosines in it, > 0.
        transform: UN, L2N or CL2N, as for `SimpleShot`; distances mean something to `strength` for unit length only.

    Raises:
        ValueError: for values out of range.

    Reference:
        Ziko, Dolz, Granger, Ben Ayed, "Laplacian Regularized Few-Shot Learning", ICML 2020, equations 1 to 7 and algorithm 1.

    Deviation:
        A fixed number of steps. The authors' `knn` of 3 counts the query itself, and they choose strength and neighbours on validation classes.
    """

    transductive = True

    def __init__(
        self,
        strength: float = 0.7,
        neighbours: int = 2,
        steps: int = 20,
        rectify: bool = True,
        scale: float = 10.0,
        transform: Transform = "L2N",
    ) -> None:
        super().__init__(transform)
        check_range(self, "strength", strength, 0, inclusive=True, hint="0.7 is common")
        check_range(self, "neighbours", neighbours, 1, inclusive=True, hint="2 is common")
        check_range(self, "steps", steps, 1, inclusive=True, hint="20 is common")
        check_range(self, "scale", scale, 0, hint="10 is common")
        self.strength, self.neighbours, self.steps = strength, neighbours, steps
        self.rectify, self.scale = rectify, scale
        self.assumes_balance = rectify

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        ways = prototypes(support, labels)
        if self.rectify:
            ways, query = rectified(support, labels, query, self.scale)
        alone = -squared_distances(query, ways)
        near = affinity(query, self.neighbours)
        logits = alone
        for _ in range(self.steps):
            logits = alone + self.strength * near @ logits.softmax(dim=-1)
        return logits


def affinity(query: Tensor, neighbours: int) -> Tensor:
    """1 where column j is among the queries nearest to row i, itself aside, (E, Q, Q)."""
    distance = squared_distances(query, query)
    itself = torch.eye(query.shape[1], dtype=torch.bool, device=query.device)
    count = min(neighbours, query.shape[1] - 1)
    nearest = distance.masked_fill(itself, torch.inf).topk(count, dim=-1, largest=False).indices
    return torch.zeros_like(distance).scatter(-1, nearest, 1.0)
