"""Asking a teacher and its students about the same images, once."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor

from lightning_transfer.contracts import ImageBatch, Prediction
from lightning_transfer.metrics.agreement import Answers
from lightning_transfer.metrics.cka import LinearCKA
from lightning_transfer.modules import TransferModule
from lightning_transfer.teachers import Teacher
from lightning_transfer.teachers.examine import averaged, probabilities


class Asked(NamedTuple):
    """What all said of a split.

    Shape:
        target (N,) int64; students and cka have one entry a student.
    """

    target: Tensor
    teacher: Answers
    students: list[Answers]
    cka: list[float]


def answers(prediction: Prediction) -> Answers:
    """Logits and probabilities (B, K); of several teachers the mean of each by their shares, so that copies of one are as that one."""
    logits = prediction.logits.float()
    if logits.ndim == 3:
        logits = averaged(logits, prediction.shares)
    return Answers(logits, probabilities(prediction))


@torch.no_grad()
def ask(
    teacher: Teacher,
    students: Sequence[TransferModule],
    batches: Iterable[ImageBatch],
    num_classes: int,
    device: torch.device,
) -> Asked:
    """Show images to all networks, each of which looks once; test views have no say, for a teacher has none.

    Args:
        teacher: loaded.
        students: put into evaluation mode and onto the device.
        batches: of one split.
        num_classes: K.
        device: where to compute.

    Raises:
        ValueError: if a network refuses the images, knows another number of classes, or has logits that are not finite.
    """
    for student in students:
        student.to(device).eval().setup("predict")  # lays out the weights, as the teacher's are
    targets: list[Tensor] = []
    said: list[list[Answers]] = [[] for _ in range(1 + len(students))]
    alike: list[LinearCKA] = []
    for batch in batches:
        shown = move_data_to_device(batch, device)
        if not targets:
            for student in students:
                student._check(shown)
        taught = _taught(teacher, shown)
        predictions = [taught, *(student(shown.image) for student in students)]
        alike = alike or [LinearCKA(_width(taught), _width(learned)) for learned in predictions[1:]]
        for whose, prediction in zip(said, predictions, strict=True):
            whose.append(_checked(answers(prediction), batch, num_classes))
        for cka, learned in zip(alike, predictions[1:], strict=True):
            cka.update(*(part.features.embedding.cpu() for part in (taught, learned)))
        targets.append(batch.target)
    first, *others = (Answers(*map(torch.cat, zip(*whose, strict=True))) for whose in said)
    return Asked(torch.cat(targets), first, others, [cka.compute().item() for cka in alike])


def _taught(teacher: Teacher, batch: ImageBatch) -> Prediction:
    try:
        return teacher(batch)
    except (AssertionError, RuntimeError) as error:
        height, width = batch.image.shape[-2:]
        raise ValueError(
            f"the teacher refuses images of {height}x{width} pixels: {error}; set another data.image_size"
        ) from error


def _width(prediction: Prediction) -> int:
    return prediction.features.embedding.shape[1]


def _checked(found: Answers, batch: ImageBatch, num_classes: int) -> Answers:
    if found.logits.shape[1] != num_classes:
        raise ValueError(
            f"the teacher knows {found.logits.shape[1]} classes, the students {num_classes}: their answers cannot be compared; take a "
            "teacher of the same classes"
        )
    broken = ~found.logits.isfinite().all(dim=1)
    if broken.any():
        raise ValueError(f"the logits of {batch.name[int(broken.nonzero()[0])]} are not all finite")
    return Answers(*(part.cpu() for part in found))
