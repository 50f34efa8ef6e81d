"""The figures of `classification_metrics` for many weightings of the same images at once, as resampling needs them."""

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_transfer.calibration import negative_log_likelihood

BINS = 15


def weighted_metrics(logits: Tensor, target: Tensor) -> Callable[[Tensor], dict[str, Tensor]]:
    """Prepare a function from weights (R, N) float64, such as how often an image was drawn, to metrics (R,) each.

    With weights of one the figures are those of `classification_metrics`, with whole numbers those of the images repeated; `nll` is
    the negative log-likelihood in nats. For several labels an image `ece` is that of all image-label pairs.

    Args:
        logits: (N, K).
        target: (N,) int64, or (N, K) float for several labels an image.
    """
    return _single(logits, target) if target.ndim == 1 else _multi(logits, target.long())


def _single(logits: Tensor, target: Tensor) -> Callable[[Tensor], dict[str, Tensor]]:
    classes = logits.shape[1]
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    right = (predicted == target).double()
    means = {"nll": negative_log_likelihood(logits, target)}
    if classes > 5:
        means["accuracy_top5"] = (logits.topk(5).indices == target[:, None]).any(dim=1).double()
    bins, gap = bin_of(confidence), confidence.double() - right

    def measure(weight: Tensor) -> dict[str, Tensor]:
        total = weight.sum(dim=1)
        hits, of_class = _sum_by(weight * right, target, classes), _sum_by(weight, target, classes)
        concerned = of_class + _sum_by(weight, predicted, classes)
        there = concerned > 0  # a class that is neither there nor predicted has no say
        found = {
            "accuracy": weight @ right / total,
            "accuracy_macro": (hits / of_class.clamp(min=1e-9)).sum(dim=1) / there.sum(dim=1),
            "f1": (2 * hits / concerned.clamp(min=1e-9)).sum(dim=1) / there.sum(dim=1),
            "ece": _sum_by(weight * gap, bins, BINS + 1).abs().sum(dim=1) / total,
        }
        return found | {name: weight @ value / total for name, value in means.items()}

    return measure


def _multi(logits: Tensor, target: Tensor) -> Callable[[Tensor], dict[str, Tensor]]:
    probability, count, classes = logits.sigmoid(), *logits.shape
    chosen = (probability > 0.5).double()
    label = target.double()
    means = {"accuracy": (chosen == label).double().mean(dim=1), "nll": negative_log_likelihood(logits, label)}
    spread = torch.zeros(count, BINS + 1, dtype=torch.float64)
    gap = spread.scatter_add_(1, bin_of(probability), probability.double() - label) / classes

    there = label.any(dim=0).nonzero().flatten().tolist()  # a label that no image has counts as 0, as in torchmetrics

    def sum_of(weight: Tensor) -> Tensor:
        """Of the labels' average precisions; one that only the resample lacks counts like the mean of the others."""
        if not there:
            return torch.zeros(len(weight), dtype=weight.dtype)
        each = torch.stack([_average_precision(logits[:, k], label[:, k], weight) for k in there])
        return each.nanmean(dim=0) * len(there)

    def measure(weight: Tensor) -> dict[str, Tensor]:
        total = weight.sum(dim=1)
        concerned = weight @ (chosen + label)
        found = {name: weight @ value / total for name, value in means.items()}
        return found | {
            "f1": (2 * (weight @ (chosen * label)) / concerned.clamp(min=1e-9)).mean(dim=1),
            "ece": (weight @ gap).abs().sum(dim=1) / total,
            "map": sum_of(weight) / classes,
        }

    return measure


def _average_precision(score: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """(R,) of a label that some image has; NaN where none of those has weight."""
    order = score.argsort(descending=True)
    falling = -score[order]
    of_label = label[order].nonzero().flatten()
    found = weight[:, order[of_label]]
    # up to the last image that scores alike, among those of the label and among all
    among_label, among_all = (
        torch.searchsorted(part, falling[of_label], right=True) - 1 for part in (falling[of_label], falling)
    )
    hits, chosen = found.cumsum(dim=1), weight[:, order].cumsum(dim=1)[:, among_all]
    return (found * hits[:, among_label] / chosen.clamp(min=1e-9)).sum(dim=1) / hits[:, -1]


def bin_of(probability: Tensor) -> Tensor:
    """The number of the bin of the calibration error; a probability of 1 has a bin of its own, as in torchmetrics."""
    return torch.bucketize(probability, torch.linspace(0, 1, BINS + 1), right=True) - 1


def _sum_by(weight: Tensor, index: Tensor, size: int) -> Tensor:
    """Sum (R, N) over the images of each index: (R, size)."""
    return weight.new_zeros(len(weight), size).index_add_(1, index, weight)
