"""The vote of the nearest among an epoch's last training embeddings."""

import torch
from torch import Tensor

from lightning_transfer.contracts import Embedded
from lightning_transfer.losses.gather import gathered, processes
from lightning_transfer.probes.knn import KnnHead

_TEMPERATURE = 0.07  # of the votes' weights


class RecentNeighbours:
    """Keeps the last embeddings that a training saw, with their targets.

    Args:
        neighbours: k of the vote, ≥ 1.
        bank: embeddings that are kept, at most, ≥ 1, over all processes.

    Raises:
        ValueError: for numbers below 1.
    """

    def __init__(self, neighbours: int, bank: int) -> None:
        for argument, number in (("neighbours", neighbours), ("bank", bank)):
            if number < 1:
                raise ValueError(f"{argument}={number} must be at least 1")
        self.neighbours, self.bank = neighbours, bank
        self.batches: list[tuple[Tensor, Tensor]] = []

    def clear(self) -> None:
        """Forget all."""
        self.batches = []

    def add(self, embedding: Tensor, target: Tensor) -> None:
        """Keep a batch, (B, D) and (B,), and forget the oldest where there are enough without them."""
        self.batches.append((embedding, target))
        while sum(len(known) for _, known in self.batches[1:]) >= max(1, self.bank // processes()):
            self.batches.pop(0)

    def embeddings(self) -> Tensor:
        """(N, D) of this process."""
        return torch.cat([embedding for embedding, _ in self.batches])

    def voters(self, num_classes: int) -> KnnHead | None:
        """What classifies embeddings by those of all processes whose class is known; none where no class is."""
        if not self.batches:
            return None
        embedding, target = (gathered(torch.cat(parts))[0] for parts in zip(*self.batches, strict=True))
        known = target >= 0
        if not known.any():
            return None
        bank = Embedded(embedding[known].float(), target[known])
        return KnnHead(bank, min(self.neighbours, int(known.sum())), _TEMPERATURE, num_classes)
