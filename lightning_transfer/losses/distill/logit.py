"""What losses on the scores of the classes share: the check of the classes, precision and ensembles."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from lightning_transfer.contracts import DistillLoss, Prediction


class LogitLoss(DistillLoss):
    """Compares scores of the same classes; against several teachers the losses are averaged by the teachers' shares.

    For `SoftTargetKL` that average has the gradient of the divergence from the averaged probabilities at the same temperature.

    Raises:
        ValueError: if teacher and student have different class counts.
    """

    compares_classes: ClassVar[bool] = True

    def forward(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        if student.logits.shape[-1] != teacher.logits.shape[-1]:
            raise ValueError(
                f"the student predicts {student.logits.shape[-1]} classes, the teacher {teacher.logits.shape[-1]}; "
                f"{type(self).__name__} needs the same classes in the same order"
            )
        # float32: under autocast the tails of a softened distribution underflow in half precision
        learner, taught = student.logits.float(), teacher.logits.detach().float()
        if taught.ndim == 2:
            return self.compare(learner, taught, target)
        losses = torch.stack([self.compare(learner, one, target) for one in taught])
        return losses.mean() if teacher.shares is None else (teacher.shares * losses).sum()

    @abstractmethod
    def compare(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        """Compare the student's logits (B, K) with one teacher's (B, K), both float32."""


def check_temperature(temperature: float) -> float:
    """Refuse a temperature that is not positive."""
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be positive; 1 leaves probabilities unsoftened, 4 is common")
    return temperature
