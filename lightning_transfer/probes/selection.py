"""What all probes ask of their data, and how the validation split chooses."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.functional.classification import multilabel_average_precision

from lightning_transfer.contracts import Embedded


def score(logits: Tensor, target: Tensor) -> float:
    """What the validation split compares: accuracy, or macro mean average precision for several labels an image.

    Args:
        logits: (N, K); anything that is not finite scores -1.
        target: (N,) or (N, K).
    """
    if not logits.isfinite().all():
        return -1.0
    if target.ndim == 1:
        return (logits.argmax(dim=1) == target).double().mean().item()
    return float(multilabel_average_precision(logits, target.long(), num_labels=target.shape[1]))


def best(scores: Sequence[float]) -> int:
    """The position of the highest score; of equals the first, which each probe makes the simplest."""
    return max(range(len(scores)), key=lambda i: (scores[i], -i))


def check_values(name: str, values: Sequence[float]) -> None:
    """Refuse a list of hyper-parameters that is empty or holds one that is not positive."""
    if not values or min(values) <= 0:
        raise ValueError(f"{name}={list(values)} must hold at least one value, all of them positive")


def check_data(
    count: int, without_choice: str, train: Embedded, val: Embedded | None, num_classes: int
) -> Embedded | None:
    """Refuse data that the probe could not be fitted to, or that could not choose.

    Args:
        count: of what validation chooses among.
        without_choice: the arguments that would leave no choice, for the error.
        train: to fit on.
        val: to choose on.
        num_classes: K.

    Returns:
        the validation split if there is something to choose

    Raises:
        ValueError: saying what would do.
    """
    for split in (train,) if val is None else (train, val):
        _check_split(split, num_classes)
    if len(train.target) == 0 or (train.target.ndim == 1 and len(torch.unique(train.target)) < 2):
        raise ValueError(f"{len(train.target)} training images of one class or none teach nothing; give two classes")
    if count == 1:
        return None
    if val is None or len(val.target) == 0:
        raise ValueError(
            f"no validation images to choose one of {count}; set data.val_fraction above 0, or leave no choice: {without_choice}"
        )
    return val


def _check_split(split: Embedded, num_classes: int) -> None:
    embedding, target = split.embedding, split.target
    if embedding.ndim != 2 or len(embedding) != len(target):
        raise ValueError(f"embeddings {tuple(embedding.shape)} and targets {tuple(target.shape)} must be (N, D) and N")
    if target.ndim == 2 and target.shape[1] != num_classes:
        raise ValueError(f"the targets have {target.shape[1]} classes, but num_classes={num_classes}")
    if target.ndim == 1 and len(target) and not 0 <= int(target.min()) <= int(target.max()) < num_classes:
        raise ValueError(
            f"targets lie in [{int(target.min())}, {int(target.max())}], but num_classes={num_classes} wants [0, {num_classes - 1}]"
        )


def one_hot(target: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """Targets (N,) or (N, K) as (N, K)."""
    if target.ndim == 2:
        return target.to(dtype)
    return torch.nn.functional.one_hot(target, num_classes).to(dtype)
