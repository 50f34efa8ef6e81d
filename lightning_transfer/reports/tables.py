"""Rows of the report's tables."""

from typing import Any

import torch
from torch import Tensor

from lightning_transfer.calibration import negative_log_likelihood
from lightning_transfer.contracts import Scored
from lightning_transfer.metrics.bootstrap import Interval, bootstrap
from lightning_transfer.metrics.weighted import weighted_metrics

Row = dict[str, Any]
WORST_COLUMNS = ("image", "true", "predicted", "probability", "probability_of_true")
_CALIBRATED = ("nll", "ece")  # what a temperature changes


def headline(scored: Scored, temperature: float | None, resamples: int, level: float, seed: int) -> dict[str, Interval]:
    """Metrics with their intervals; what a temperature changes once more, as `nll_scaled` and `ece_scaled`.

    Args:
        scored: a split.
        temperature: if there is one.
        resamples: as for `bootstrap`.
        level: likewise.
        seed: likewise.
    """
    measure = weighted_metrics(scored.logits, scored.target)
    scaled = measure if temperature is None else weighted_metrics(scored.logits / temperature, scored.target)

    def all_of_them(counts: Tensor) -> dict[str, Tensor]:
        found = measure(counts)
        if temperature is not None:
            after = scaled(counts)
            found |= {f"{name}_scaled": after[name] for name in _CALIBRATED}
        return found

    return bootstrap(
        all_of_them, len(scored.target), scored.group, resamples, level, seed, biased=("ece", "ece_scaled")
    )


def confusion(scored: Scored) -> Tensor:
    """Count images by true class (row) and predicted class (column): (K, K) int64."""
    classes = scored.logits.shape[1]
    return torch.bincount(scored.target * classes + scored.logits.argmax(dim=1), minlength=classes**2).view(classes, -1)


def per_class(scored: Scored, class_names: list[str]) -> list[Row]:
    """Precision, recall and F1 of each class, and what it is taken for most often; empty where there is nothing to divide by.

    Args:
        scored: a split.
        class_names: K.
    """
    several = scored.target.ndim == 2
    if several:
        label, chosen = scored.target.long(), (scored.logits > 0).long()
        count, predicted, right = label.sum(0), chosen.sum(0), (label * chosen).sum(0)
    else:
        table = confusion(scored)
        count, predicted, right = table.sum(1), table.sum(0), table.diagonal()
        wrong = table - torch.diag(right)
    rows: list[Row] = []
    for k, name in enumerate(class_names):
        n, taken, hits = int(count[k]), int(predicted[k]), int(right[k])
        row: Row = {"class": name, "n": n, "predicted": taken}
        row |= {"precision": _share(hits, taken), "recall": _share(hits, n), "f1": _share(2 * hits, n + taken)}
        if not several:
            most = int(wrong[k].argmax())
            times = int(wrong[k, most])
            row |= {"most_confused_with": class_names[most] if times else "", "times": times}
        rows.append(row)
    return rows


def worst(scored: Scored, class_names: list[str]) -> list[Row]:
    """All wrong decisions, the surest first; for several labels an image each wrong label is one.

    Args:
        scored: a split.
        class_names: K.
    """
    if scored.target.ndim == 2:
        probability, label = scored.logits.sigmoid(), scored.target.long()
        pairs = ((probability > 0.5).long() != label).nonzero().tolist()
        rows = [
            _wrong_label(scored.name[i], class_names[k], int(label[i, k]), float(probability[i, k])) for i, k in pairs
        ]
    else:
        probability = scored.logits.softmax(dim=1)
        predicted = probability.argmax(dim=1)
        rows = [
            {
                "image": scored.name[i],
                "true": class_names[int(scored.target[i])],
                "predicted": class_names[int(predicted[i])],
                "probability": float(probability[i, predicted[i]]),
                "probability_of_true": float(probability[i, scored.target[i]]),
            }
            for i in (predicted != scored.target).nonzero().flatten().tolist()
        ]
    return sorted(rows, key=lambda row: -row["probability"])


def reliability(scored: Scored, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """What is predicted with which probability, and whether it was right: (M,) each.

    M is N, or N x K for several labels an image, where the probability is that of the label.
    """
    logits = scored.logits / temperature
    if scored.target.ndim == 2:
        return logits.sigmoid().flatten(), scored.target.flatten().float()
    probability, predicted = logits.softmax(dim=1).max(dim=1)
    return probability, (predicted == scored.target).float()


def mean_nll(scored: Scored, temperature: float) -> float:
    """Mean negative log-likelihood in nats."""
    return negative_log_likelihood(scored.logits / temperature, scored.target).mean().item()


def _wrong_label(image: str, name: str, label: int, probability: float) -> Row:
    words = (f"not {name}", name)
    sure = probability if label == 0 else 1 - probability
    return {
        "image": image,
        "true": words[label],
        "predicted": words[1 - label],
        "probability": sure,
        "probability_of_true": 1 - sure,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
