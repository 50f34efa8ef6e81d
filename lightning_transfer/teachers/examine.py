"""A teacher is examined before it teaches: one with another order of classes, or untrained, would spoil a training in silence."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import softmax

from lightning_transfer.contracts import ImageBatch, Prediction
from lightning_transfer.teachers.base import Teacher

_FEWEST = 30  # images of which anything can be said


def probabilities(prediction: Prediction) -> Tensor:
    """Probabilities (B, K); of several teachers the average by their shares."""
    p = softmax(prediction.logits.float(), dim=-1)
    if p.ndim == 2:
        return p
    return p.mean(dim=0) if prediction.shares is None else (prediction.shares.view(-1, 1, 1) * p).sum(dim=0)


def count_right(teacher: Teacher, batches: Iterable[ImageBatch], num_classes: int) -> Tensor:
    """Count what a teacher gets right.

    Returns:
        (2, K): images of each class that it gets right, and all of them; those without a label are left out
    """
    counts = torch.zeros(2, num_classes, dtype=torch.int64)
    for batch in batches:
        target, found = batch.target, probabilities(teacher(batch)).argmax(dim=1)
        for row, chosen in zip(counts, ((found == target) & (target >= 0), target >= 0), strict=True):
            row += torch.bincount(target[chosen], minlength=num_classes).cpu()
    return counts


def require_better_than_chance(counts: Tensor) -> None:
    """Stop where a teacher's accuracy, as mean over the classes, is not above chance by two standard deviations.

    The mean over classes, because whoever always answers with the commonest class has just chance there. Fewer than 30 images
    tell nothing.

    Args:
        counts: as `count_right` returns them.

    Raises:
        ValueError: with the accuracy, and what chance would reach.
    """
    right, total = counts[:, counts[1] > 0].double()
    if total.sum() < _FEWEST:
        return
    accuracy, chance = (right / total).mean().item(), 1 / counts.shape[1]
    spread = (chance * (1 - chance) / total).sum().sqrt().item() / len(total)
    if accuracy <= chance + 2 * spread:
        raise ValueError(
            f"the teacher is at chance level: it gets {accuracy:.3f} of the validation images right, as mean over the classes, where "
            f"guessing gets {chance:.3f} ± {spread:.3f}; is it the right file, trained on these classes in this order?"
        )
