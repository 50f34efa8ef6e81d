"""Logits without offset and scale: the student matches how the teacher ranks, not how large its logits are."""

from torch import Tensor

from lightning_transfer.losses.distill.logit import LogitLoss
from lightning_transfer.losses.distill.soft_target import SoftTargetKL

_LEAST = 0.01  # a head that starts at zero gives constant logits, whose gradient would otherwise be infinite


class Standardised(LogitLoss):
    """Any loss on logits after each image's logits of student and teacher got mean 0 and standard deviation 1.

    The logits' own scale is then free: look at the calibration beside the accuracy.

    Args:
        loss: on logits; `SoftTargetKL(temperature=2)` if not given, which the paper weighs by 9 beside 0.1 for the labels.

    Shape:
        student logits (B, K), teacher logits (B, K) or (M, B, K) → scalar

    Raises:
        ValueError: for a loss that is not on logits.

    Reference:
        Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024, algorithm 1.

    Deviation:
        Standard deviations below 0.01 count as 0.01.

    Example:
        >>> from torch import tensor
        >>> from lightning_transfer.contracts import logits_only
        >>> student = logits_only(tensor([[1.0, 1.0, 0.0], [0.5, 1.0, 1.0], [1.0, 0.2, 1.0]]))
        >>> teacher = logits_only(tensor([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 0.0, 2.5]]))
        >>> round(Standardised()(student, teacher, tensor([0, 1, 2])).item(), 4)
        0.1146
    """

    def __init__(self, loss: LogitLoss | None = None) -> None:
        super().__init__()
        self.loss = loss or SoftTargetKL(temperature=2.0)
        if not isinstance(self.loss, LogitLoss):
            raise ValueError(f"loss={type(self.loss).__name__} compares no logits; SoftTargetKL, DKD and DIST do")
        self.needs_target, self.needs_class = self.loss.needs_target, self.loss.needs_class

    @property
    def temperature(self) -> float | None:
        return getattr(self.loss, "temperature", None)

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        return self.loss.compare(_standardise(student), _standardise(teacher), target)


def _standardise(logits: Tensor) -> Tensor:
    deviation = logits.var(dim=-1, keepdim=True).clamp(min=_LEAST**2).sqrt()
    return (logits - logits.mean(dim=-1, keepdim=True)) / deviation
