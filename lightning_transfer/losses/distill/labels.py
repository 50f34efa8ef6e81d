"""The data's own labels among the losses of a distillation."""

from torch import Tensor

from lightning_transfer.contracts import DistillLoss, Prediction
from lightning_transfer.losses.supervised import CrossEntropy, SupervisedLoss


class Labels(DistillLoss):
    """A supervised loss of the student's logits, which asks no teacher.

    Args:
        loss: any supervised one; cross-entropy if not given.

    Shape:
        student logits (B, K), target (B,) int64 or (B, K) → scalar

    Raises:
        ValueError: for a loss of numbers instead of classes.

    Example:
        >>> from torch import tensor
        >>> from lightning_transfer.contracts import logits_only
        >>> student = logits_only(tensor([[2.0, 1.0, 0.0]]))
        >>> loss = Labels()
        >>> loss.prepare(student, student, None)
        >>> round(loss(student, student, tensor([0])).item(), 4)
        0.4076
    """

    needs_target = True

    def __init__(self, loss: SupervisedLoss | None = None) -> None:
        super().__init__()
        self.loss = loss or CrossEntropy()
        if "classification" not in self.loss.tasks:
            raise ValueError(
                f"loss={type(self.loss).__name__} is for {' and '.join(self.loss.tasks)}, but a student learns classes; take CrossEntropy "
                "or Focal"
            )
        self.needs_class = not self.loss.takes_soft_targets

    def prepare(self, student: Prediction, teacher: Prediction, targets: Tensor | None) -> None:
        self.loss.set_num_classes(student.logits.shape[-1])

    def forward(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        result: Tensor = self.loss(student.logits, target)
        return result
