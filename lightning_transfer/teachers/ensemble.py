"""Several teachers as one."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal

import torch
from torch import nn

from lightning_transfer.contracts import Features, ImageBatch, Prediction
from lightning_transfer.teachers.base import Teacher
from lightning_transfer.teachers.cached import CachedTeacher
from lightning_transfer.teachers.examine import averaged


class Ensemble(Teacher):
    """Teachers of the same classes, each with a share; layers are named after the teacher's number: `0.backbone.model.layer4`.

    The embedding is all embeddings side by side.

    Args:
        teachers: at least one.
        weights: ≥ 0, one a teacher, of which the shares are made; all alike if not given.
        average: `probabilities` hands on the logits of each, (M, B, K), whose probabilities count together at whatever temperature
            a loss softens them; `logits` averages the logits themselves, which is the normalised geometric mean of the probabilities.

    Shape:
        image (B, C, H, W) → logits (M, B, K), or (B, K) for average=logits

    Raises:
        ValueError: for no teachers, weights that are negative, sum to zero or are of another number; at `load`, for unlike classes.
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        weights: Sequence[float] | None = None,
        average: Literal["probabilities", "logits"] = "probabilities",
    ) -> None:
        if any(isinstance(teacher, CachedTeacher) for teacher in teachers):
            raise ValueError("CachedTeacher keeps the answers of an ensemble as a whole; put it around, not into it")
        if not teachers or any(isinstance(teacher, Ensemble) for teacher in teachers):
            raise ValueError("teachers must be at least one, and none an ensemble itself")
        weights = [1.0] * len(teachers) if weights is None else list(weights)
        if len(weights) != len(teachers) or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise ValueError(
                f"weights={weights} must be one number of at least 0 for each of {len(teachers)} teachers, and not all 0"
            )
        if average not in ("probabilities", "logits"):
            raise ValueError(f"average={average!r} must be probabilities or logits")
        self.teachers = list(teachers)
        self.shares = torch.tensor(weights) / sum(weights)
        self.average = average

    def build(self) -> nn.Module:
        for number, teacher in enumerate(self.teachers):
            teacher.load()
            first = self.class_names
            if teacher.class_names is not None and first is not None and list(teacher.class_names) != list(first):
                raise ValueError(
                    f"teacher {number} of the ensemble knows {len(teacher.class_names)} classes ({', '.join(teacher.class_names[:5])}, "
                    f"...), an earlier one {len(first)} ({', '.join(first[:5])}, ...); all must know the same in the same order"
                )
            self.class_names = first or teacher.class_names
        return nn.ModuleList([teacher.network for teacher in self.teachers])

    def __call__(self, batch: ImageBatch) -> Prediction:
        predictions = [teacher(batch) for teacher in self.teachers]
        widths = [prediction.logits.shape[-1] for prediction in predictions]
        if len(set(widths)) > 1:
            raise ValueError(
                f"the ensemble's teachers predict {widths} classes; all must know the same in the same order"
            )
        logits = torch.stack([prediction.logits.float() for prediction in predictions])
        embedding = torch.cat([prediction.features.embedding for prediction in predictions], dim=1)
        shares = self.shares = self.shares.to(logits.device)
        if self.average == "logits":
            return Prediction(averaged(logits, shares), Features(embedding))
        return Prediction(logits, Features(embedding), shares)

    def parameters(self) -> Iterator[nn.Parameter]:
        return chain.from_iterable(teacher.parameters() for teacher in self.teachers)

    def fingerprint(self) -> str:
        hashed = [teacher.fingerprint() for teacher in self.teachers]
        return hashlib.sha256(f"{hashed} {self.shares.tolist()} {self.average}".encode()).hexdigest()
