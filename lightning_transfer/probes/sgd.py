"""A linear head trained by SGD, at many learning rates and weight decays at once."""

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from lightning_transfer.contracts import Embedded, FittedProbe, Probe
from lightning_transfer.probes.scaling import scaling
from lightning_transfer.probes.selection import best, check_data, check_values, one_hot, score


class SgdProbe(Probe):
    """One linear head for each pair of a learning rate and a weight decay, all trained in one pass over the same batches.

    Softmax cross-entropy, or the sum of the classes' sigmoid cross-entropies for several labels an image; momentum, and rates that
    fall to zero by half a cosine; intercepts are not decayed. Heads start at zero.

    Args:
        learning_rates: first rates, > 0.
        weight_decays: added to the gradient as `weight_decay × W`, ≥ 0.
        epochs: passes over the embeddings.
        batch_size: embeddings a step.
        momentum: in [0, 1).
        standardise: whether embeddings are standardised; the head takes raw embeddings either way.
        seed: of the batches' order.

    Raises:
        ValueError: for values out of range, fewer than two classes, or several heads without validation images.

    Reference:
        Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024 (linear evaluation
        over a grid of rates, which share the frozen forward pass).
    """

    def __init__(
        self,
        learning_rates: Sequence[float] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
        weight_decays: Sequence[float] = (0.0, 1e-3),
        epochs: int = 50,
        batch_size: int = 256,
        momentum: float = 0.9,
        standardise: bool = True,
        seed: int = 0,
    ) -> None:
        check_values("learning_rates", learning_rates)
        if not weight_decays or min(weight_decays) < 0:
            raise ValueError(f"weight_decays={list(weight_decays)} must hold at least one value, none of them negative")
        if epochs < 1 or batch_size < 1 or not 0 <= momentum < 1:
            raise ValueError(
                f"epochs={epochs} and batch_size={batch_size} must be at least 1, momentum={momentum} in [0, 1)"
            )
        self.pairs = list(product(sorted(learning_rates), sorted(weight_decays, reverse=True)))
        self.epochs, self.batch_size = epochs, batch_size
        self.momentum = momentum
        self.standardise = standardise
        self.seed = seed

    def fit(self, train: Embedded, val: Embedded | None, num_classes: int) -> FittedProbe:
        rate, decay = self.pairs[len(self.pairs) // 2]
        hint = f"learning_rates=[{rate:g}] weight_decays=[{decay:g}]"
        val = check_data(len(self.pairs), hint, train, val, num_classes)
        scale = scaling(train.embedding, self.standardise)
        if not self.standardise:  # SGD, unlike a fit to the optimum, depends on where the embeddings are centred
            scale = scale._replace(mean=torch.zeros_like(scale.mean))
        weights, biases = self.train(scale(train.embedding), train.target, num_classes)
        stacked = zip(weights.double(), biases.double(), strict=True)
        heads = [scale.head(weight, bias, train.embedding) for weight, bias in stacked]
        chosen = best([score(head(val.embedding), val.target) for head in heads]) if val is not None else 0
        rate, decay = self.pairs[chosen]
        return FittedProbe(heads[chosen], {"learning_rate": rate, "weight_decay": decay})

    def train(self, embedding: Tensor, target: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
        """Train all R heads: weights (R, K, D) and biases (R, K)."""
        rate, decay = embedding.new_tensor(self.pairs).T[..., None]  # (R, 1) each
        weight = embedding.new_zeros(len(self.pairs), num_classes, embedding.shape[1])
        bias = embedding.new_zeros(len(self.pairs), num_classes)
        velocity = torch.zeros_like(weight), torch.zeros_like(bias)
        generator = torch.Generator().manual_seed(self.seed)
        steps = self.epochs * math.ceil(len(embedding) / self.batch_size)
        step = 0
        for _ in range(self.epochs):
            for rows in torch.split(torch.randperm(len(embedding), generator=generator), self.batch_size):
                rows = rows.to(embedding.device)
                slope, bias_slope = _gradient(embedding[rows], target[rows], weight, bias)
                factor = 0.5 * (1 + math.cos(math.pi * step / steps))
                velocity[0].mul_(self.momentum).add_(slope + decay[..., None] * weight)
                velocity[1].mul_(self.momentum).add_(bias_slope)
                weight -= factor * rate[..., None] * velocity[0]
                bias -= factor * rate * velocity[1]
                step += 1
        return weight, bias


def _gradient(embedding: Tensor, target: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Mean gradient of every head's loss over a batch: one product there and one back for all heads."""
    heads, classes, width = weight.shape
    logits = (embedding @ weight.view(-1, width).T).view(-1, heads, classes) + bias
    probability = logits.softmax(-1) if target.ndim == 1 else logits.sigmoid()
    residual = (probability - one_hot(target, classes, logits.dtype)[:, None]) / len(embedding)
    return (residual.flatten(1).T @ embedding).view_as(weight), residual.sum(0)
