"""How far a student says what its teacher says, and which of them is right where they differ."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import log_softmax
from torchmetrics.functional.classification import multiclass_calibration_error

from lightning_transfer.metrics.weighted import BINS


class Answers(NamedTuple):
    """What a network says of a split: the classes' scores, and their probabilities, which of an ensemble are no softmax of these.

    Shape:
        logits (N, K); probability (N, K).
    """

    logits: Tensor
    probability: Tensor


def agrees(student: Tensor, teacher: Tensor, top_k: int = 1) -> Tensor:
    """Whether the teacher's first class is among the student's first.

    Args:
        student: (N, K) logits or probabilities.
        teacher: (N, K) likewise.
        top_k: how many of the student's count, from 1 to K.

    Shape:
        (N,) bool
    """
    return (student.topk(top_k, dim=1).indices == teacher.argmax(dim=1, keepdim=True)).any(dim=1)


def entropy(probability: Tensor) -> Tensor:
    """Entropy of each image's probabilities (N, K) in nats, (N,)."""
    nats: Tensor = torch.special.entr(probability.double()).sum(dim=1)
    return nats


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the student from the teacher, image by image, at temperature 1.

    Args:
        teacher: (N, K) probabilities.
        student: (N, K) logits.

    Shape:
        (N,) float64, in nats

    Example:
        >>> teacher = torch.tensor([[1.0, 2.0, 3.0]]).softmax(dim=1)
        >>> round(divergence(teacher, torch.tensor([[3.0, 2.0, 1.0]])).item(), 5)
        1.15042
    """
    crossed = -(teacher.double() * log_softmax(student.double(), dim=1)).sum(dim=1)
    return (crossed - entropy(teacher)).clamp(min=0)  # single precision could leave less than nothing


def agreement_figures(student: Answers, teacher: Answers, target: Tensor, top_k: int = 5) -> dict[str, float | None]:
    """Compare a student with a teacher over a split; none stands where there is nothing to tell from.

    Args:
        student: its answers.
        teacher: its answers to the same images.
        target: (N,) int64; where a label is unknown, -1, accuracy and calibration leave the image out.
        top_k: of `agreement_top`; left out where there are no more classes than that.

    Returns:
        `agreement`: share of the images that both classify alike, rightly or not; `agreement_top5`: whose class by the teacher is among
        the student's first five; `agreement_teacher_right`, `agreement_teacher_wrong`: of the images that the teacher classifies
        rightly, and wrongly. `kl`: mean divergence of the student from the teacher, in nats. `logit_distance`: mean Euclidean
        distance of their logits. `student_beats_teacher`: share of the images where the student alone is right, and
        `teacher_beats_student`. Of each `accuracy`, mean `entropy` in nats, and `ece`, the calibration error over 15 bins.
    """
    alike = agrees(student.logits, teacher.probability)
    known = target >= 0
    right, taught = ((answers.probability.argmax(dim=1) == target)[known] for answers in (student, teacher))
    figures = {"agreement": _share(alike)}
    if top_k < student.logits.shape[1]:
        figures[f"agreement_top{top_k}"] = _share(agrees(student.logits, teacher.probability, top_k))
    return figures | {
        "agreement_teacher_right": _share(alike[known][taught]),
        "agreement_teacher_wrong": _share(alike[known][~taught]),
        "kl": divergence(teacher.probability, student.logits).mean().item(),
        "logit_distance": (student.logits.double() - teacher.logits.double()).norm(dim=1).mean().item(),
        "student_beats_teacher": _share(right & ~taught),
        "teacher_beats_student": _share(taught & ~right),
        "accuracy": _share(right),
        "teacher_accuracy": _share(taught),
        "entropy": entropy(student.probability).mean().item(),
        "teacher_entropy": entropy(teacher.probability).mean().item(),
        "ece": _calibration_error(student.probability[known], target[known]),
        "teacher_ece": _calibration_error(teacher.probability[known], target[known]),
    }


def _share(chosen: Tensor) -> float | None:
    return chosen.double().mean().item() if len(chosen) else None


def _calibration_error(probability: Tensor, target: Tensor) -> float | None:
    if not len(target):
        return None
    # an average can exceed 1 by a rounding, and torchmetrics would take all of them for logits then
    bounded = probability.clamp(max=1)
    return multiclass_calibration_error(bounded, target, bounded.shape[1], n_bins=BINS, norm="l1").item()
