"""A teacher is examined before it teaches: one with another order of classes, or untrained, would spoil a training in silence."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import softmax

from lightning_transfer.contracts import ImageBatch, Prediction

_FEWEST = 30  # images of which anything can be said


def probabilities(prediction: Prediction) -> Tensor:
    """Probabilities (B, K); of several teachers the average by their shares."""
    p = softmax(prediction.logits.float(), dim=-1)
    return p if p.ndim == 2 else averaged(p, prediction.shares)


def averaged(each: Tensor, shares: Tensor | None) -> Tensor:
    """Average what M teachers say, (M, B, K), by their shares (M,), or all alike."""
    return each.mean(dim=0) if shares is None else (shares.view(-1, 1, 1) * each).sum(dim=0)


def require_same_classes(names: Mapping[str, Sequence[str] | None]) -> None:
    """Refuse whoever names other classes than the first who names any, or in another order.

    Args:
        names: by who names them; none where they are not known.

    Raises:
        ValueError: with the first class that differs.
    """
    named = {whose: list(classes) for whose, classes in names.items() if classes is not None}
    first = next(iter(named), "")
    for whose, classes in named.items():
        if len(classes) != len(named[first]):
            raise ValueError(
                f"{first} knows {len(named[first])} classes, {whose} has {len(classes)}: what they say cannot be compared"
            )
        for k, (one, other) in enumerate(zip(named[first], classes, strict=True)):
            if one != other:
                raise ValueError(
                    f"class {k} is {one!r} for {first} and {other!r} for {whose}; all must name the same classes in the same order"
                )


def count_right(teacher: Callable[[ImageBatch], Prediction], batches: Iterable[ImageBatch], num_classes: int) -> Tensor:
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
