"""Nearest neighbours: nothing is learned, the training embeddings vote."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lightning_transfer.contracts import Embedded, FittedProbe, Probe
from lightning_transfer.probes.selection import best, check_data, check_values, score

_LEAST = 1e-7  # a class without a vote has this probability, so that its logarithm is a number


class KnnProbe(Probe):
    """The k training images of greatest cosine similarity vote for their classes, with weight exp(similarity / temperature).

    Logits are logarithms of the shares of votes, so that their softmax is these shares; with several labels an image, the share of
    votes for each class as a log-odds.

    Args:
        k: numbers of neighbours, ≥ 1; of several, the validation split chooses, the least of equals. Those above the number of
            training images are passed over.
        temperature: of the votes, > 0; the smaller, the more the nearest count.

    Raises:
        ValueError: for values out of range, fewer training images than any k, or several k without validation images.

    Reference:
        Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021 (temperature 0.07), after Wu et al.,
        "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018 (weighted k-nearest neighbours).
    """

    def __init__(self, k: Sequence[int] = (5, 10, 20, 50, 100, 200), temperature: float = 0.07) -> None:
        check_values("k", k)
        if temperature <= 0:
            raise ValueError(f"temperature={temperature} must be positive; 0.07 is common")
        self.k = sorted(k)
        self.temperature = temperature

    def fit(self, train: Embedded, val: Embedded | None, num_classes: int) -> FittedProbe:
        possible = [k for k in self.k if k <= len(train.target)]
        if not possible:
            raise ValueError(f"k={self.k} neighbours are more than the {len(train.target)} training images; give less")
        val = check_data(len(possible), f"k=[{possible[len(possible) // 2]}]", train, val, num_classes)
        head = KnnHead(train, possible[-1], self.temperature, num_classes)
        if val is not None:
            logits = head.logits(val.embedding, possible)
            head.k = possible[best([score(part, val.target) for part in logits])]
        return FittedProbe(head, {"k": head.k})


class KnnHead(nn.Module):
    """The vote of the nearest neighbours.

    Args:
        bank: the embeddings that vote.
        k: how many of them.
        temperature: of the votes.
        num_classes: K.

    Shape:
        (B, D) → (B, K)
    """

    bank: Tensor
    target: Tensor

    def __init__(self, bank: Embedded, k: int, temperature: float, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("bank", normalize(bank.embedding, dim=1))
        self.register_buffer("target", bank.target)
        self.k = k
        self.temperature = temperature
        self.num_classes = num_classes

    def forward(self, embedding: Tensor) -> Tensor:
        return self.logits(embedding, [self.k])[0]

    def logits(self, embedding: Tensor, ks: Sequence[int]) -> list[Tensor]:
        """Logits for several k, from one search for the neighbours."""
        parts = []
        for query in torch.split(embedding, 1024):
            similarity, index = nearest(normalize(query, dim=1), self.bank, max(ks))
            vote = (similarity / self.temperature).softmax(
                1
            )  # up to a factor exp(similarity / temperature), safe from overflow
            parts.append([self._vote(vote[:, :k], index[:, :k]) for k in ks])
        return [torch.cat(of_k) for of_k in zip(*parts, strict=True)]

    def _vote(self, vote: Tensor, index: Tensor) -> Tensor:
        vote = vote / vote.sum(1, keepdim=True)
        if self.target.ndim == 2:
            share = torch.einsum("bk,bkc->bc", vote, self.target[index].to(vote))
            return share.clamp(_LEAST, 1 - _LEAST).logit()
        share = vote.new_zeros(len(vote), self.num_classes).scatter_add_(1, self.target[index], vote)
        return share.clamp(min=_LEAST).log()


def nearest(query: Tensor, bank: Tensor, k: int, rows: int = 16384) -> tuple[Tensor, Tensor]:
    """The k rows of the bank with the greatest products, part by part, so that never all products are in memory.

    Args:
        query: (B, D).
        bank: (N, D).
        k: at most N.
        rows: of the bank at once.

    Returns:
        products (B, k) in falling order, and row numbers (B, k)
    """
    values, indices = query.new_empty(len(query), 0), torch.empty(len(query), 0, dtype=torch.long, device=query.device)
    for start in range(0, len(bank), rows):
        products = query @ bank[start : start + rows].T
        found = products.topk(min(k, products.shape[1]), dim=1)
        values, indices = torch.cat([values, found.values], 1), torch.cat([indices, found.indices + start], 1)
        values, order = values.topk(min(k, values.shape[1]), dim=1)
        indices = indices.gather(1, order)
    return values, indices
