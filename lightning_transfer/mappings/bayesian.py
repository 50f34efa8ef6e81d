"""Every source counts for every class, by how likely the one speaks of the other."""

import torch
from torch import Tensor
from torch.nn.functional import softmax

from lightning_transfer.mappings.base import LabelMapping
from lightning_transfer.mappings.counts import Counts


class BayesianMapping(LabelMapping):
    """A class's score is the mean of all sources', weighted by the share that the class has in what they are seen in (BLM).

    With T[s, k], how often images of class k are taken for source s, the weights are T[s, k] / (Σₖ T[s, k] + λ), scaled to a sum of 1
    over the sources. With `top_k`, T sums the probabilities of the k likeliest sources instead (BLM+). They are estimated with the
    prompt at its start, and again in each epoch. For a class without images all sources weigh alike; before anything is estimated
    class k is source k.

    Args:
        top_k: how many of the likeliest sources count: a number ≥ 1, or a share of K in (0, 1), 0.15 in the paper; the likeliest alone
            counts, once, if not given.
        smoothing: λ ≥ 0; if not given 1 for counts and 0 with `top_k`.

    Shape:
        logits (B, S) → (B, K); weight (S, K)

    Raises:
        ValueError: for values out of range; at `observe` for targets that are not one class an image.

    Reference:
        Cai, Ye, Feng, Qi, Liu, "Bayesian-guided Label Mapping for Visual Reprogramming", NeurIPS 2024, section 4.
    """

    weight: Tensor
    fitted: Tensor

    def __init__(self, top_k: int | float | None = None, smoothing: float | None = None) -> None:
        super().__init__()
        if top_k is not None and (top_k <= 0 or (top_k > 1 and top_k != int(top_k))):
            raise ValueError(
                f"top_k={top_k} must be a number of sources, 3 for example, or a share of the classes in (0, 1)"
            )
        if smoothing is not None and smoothing < 0:
            raise ValueError(f"smoothing={smoothing} must not be negative; 1 is common for counts")
        self.top_k = top_k
        self.smoothing = float(top_k is None) if smoothing is None else smoothing

    def build(
        self, num_source: int, num_classes: int, source_names: list[str] | None, class_names: list[str] | None
    ) -> None:
        self.number = _number(self.top_k, num_source, num_classes)
        self.counts = Counts(num_source, num_classes, torch.int64 if self.top_k is None else torch.float32)
        weight = torch.zeros(num_source, num_classes)
        classes = torch.arange(num_classes)
        weight[classes % num_source, classes] = 1
        self.register_buffer("weight", weight)
        self.register_buffer("fitted", torch.tensor(False))

    def forward(self, logits: Tensor) -> Tensor:
        return logits @ self.weight.to(logits.dtype)

    def needs_data(self) -> bool:
        return not bool(self.fitted)

    @torch.no_grad()
    def observe(self, logits: Tensor, target: Tensor) -> None:
        probability, sources = softmax(logits.float(), dim=1).topk(self.number)
        self.counts.add(sources, target, torch.ones_like(sources) if self.top_k is None else probability)

    def forget(self) -> None:
        self.counts.table = None

    def refit(self) -> None:
        counts = self.counts.take(self.weight.device)
        if counts is not None:
            self.weight.copy_(weights(counts.cpu(), self.smoothing))
            self.fitted.fill_(True)


def weights(counts: Tensor, smoothing: float) -> Tensor:
    """Weights (S, K) of sources for classes, whose columns sum to 1, from counts (S, K).

    Example:
        >>> weights(torch.tensor([[3, 1], [0, 0]]), smoothing=0).tolist()
        [[1.0, 1.0], [0.0, 0.0]]
    """
    counts = counts.double()
    evidence = counts.sum(dim=1, keepdim=True) + smoothing
    share = torch.where(evidence > 0, counts / evidence, 0)
    total = share.sum(dim=0)
    return torch.where(total > 0, share / total, 1 / len(counts))


def _number(top_k: int | float | None, num_source: int, num_classes: int) -> int:
    if top_k is None:
        return 1
    number = int(top_k * num_classes) if isinstance(top_k, float) and top_k < 1 else int(top_k)
    return min(max(number, 1), num_source)
