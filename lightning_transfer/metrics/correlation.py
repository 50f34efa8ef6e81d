"""What a student misses of the relations between classes: matrices (K, K) that compare its logits over a split with a teacher's.

They look at logits, as the figures that they follow do: adding a number to all logits of an image changes them, and no probability.
"""

import torch
from torch import Tensor


def correlation(logits: Tensor) -> Tensor:
    """Pearson correlation of the classes' logits over images; 0 with a class whose logit never changes.

    Args:
        logits: (N, K).

    Shape:
        (K, K) float64
    """
    centred = logits.double() - logits.double().mean(dim=0)
    centred[:, (logits == logits[:1]).all(dim=0)] = 0  # the mean of equal numbers can be off by a rounding
    deviation = centred.norm(dim=0)
    unit = centred / torch.where(deviation > 0, deviation, 1.0)
    return unit.T @ unit


def correlation_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Correlation of the student's logits minus that of the teacher's: 0 where the student knows the teacher's relations.

    It does not change when a class's logit is scaled by a positive number and shifted.

    Args:
        student: (N, K) over a whole split.
        teacher: (N, K) of the same images.

    Shape:
        (K, K) float64, symmetric, in [-2, 2]

    Reference:
        Tian, Krishnan, Isola, "Contrastive representation distillation", ICLR 2020, figure 2.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
        >>> correlation_difference(z * torch.tensor([1.0, -1.0]), z)[0, 1].item() == -2 * correlation(z)[0, 1].item()
        True
    """
    return correlation(student) - correlation(teacher)


def class_mean_difference(student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
    """Absolute difference of the mean logits (column) that student and teacher give to the images of a class (row).

    The diagonal is 0, so that only the logits of wrong classes count; so is the row of a class without images.

    Args:
        student: (N, K) over a whole split.
        teacher: (N, K) of the same images.
        target: (N,) int64; images whose label is unknown, -1, are left out.

    Shape:
        (K, K) float64

    Reference:
        Zhao, Cui, Song, Qiu, Liang, "Decoupled knowledge distillation", CVPR 2022, figure 3, in the authors' code.

    Example:
        >>> teacher = torch.tensor([[4.0, 1.0], [0.0, 2.0]])
        >>> class_mean_difference(teacher + torch.tensor([[9.0, 0.5], [0.0, 9.0]]), teacher, torch.tensor([0, 1])).tolist()
        [[0.0, 0.5], [0.0, 0.0]]
    """
    known, classes = target >= 0, student.shape[1]
    difference = student[known].double() - teacher[known].double()
    count = torch.bincount(target[known], minlength=classes).clamp(min=1)
    total = difference.new_zeros(classes, classes).index_add_(0, target[known], difference)
    return (total / count[:, None]).abs().fill_diagonal_(0)


def sizes(matrix: Tensor) -> dict[str, float]:
    """Mean and largest absolute entry, and the Frobenius norm."""
    return {"mean": matrix.abs().mean().item(), "max": matrix.abs().max().item(), "frobenius": matrix.norm().item()}
