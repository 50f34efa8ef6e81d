"""What all probes ask of their data, and how the validation split chooses."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.functional.classification import multilabel_average_precision
from torchmetrics.functional.regression import r2_score

from lightning_transfer.contracts import Embedded, Probe
from lightning_transfer.tasks import Task


def score(logits: Tensor, target: Tensor, task: Task = "classification") -> float:
    """What the validation split compares: accuracy, macro mean average precision for several labels an image, or R² for numbers.

    Args:
        logits: (N, K); anything that is not finite scores below everything else.
        target: (N,) or (N, K).
        task: what the targets are.
    """
    if not logits.isfinite().all():
        return -math.inf
    if task == "regression":
        return float(r2_score(logits, target.to(logits)))
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
    count: int,
    without_choice: str,
    train: Embedded,
    val: Embedded | None,
    num_classes: int,
    tasks: Sequence[Task] = Probe.tasks,
) -> Embedded | None:
    """Refuse data that the probe could not be fitted to, or that could not choose.

    Args:
        count: of what validation chooses among.
        without_choice: the arguments that would leave no choice, for the error.
        train: to fit on.
        val: to choose on.
        num_classes: K.
        tasks: that the probe is for.

    Returns:
        the validation split if there is something to choose

    Raises:
        ValueError: saying what would do.
    """
    if train.task not in tasks:
        raise ValueError(f"this probe learns {' and '.join(tasks)}, not {train.task}; RidgeProbe does")
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
    if train.task == "regression" and len(val.target) < 2:
        raise ValueError(f"R² needs two validation images, but there is {len(val.target)}; raise data.val_fraction")
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
