"""Hard labels: the teacher's decision in place of its distribution."""

from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_transfer.losses.distill.logit import LogitLoss


class HardLabels(LogitLoss):
    """Cross-entropy of the student with the class that the teacher finds likeliest, whatever the label is.

    Args:
        label_smoothing: share of the target spread evenly over all classes, in [0, 1).

    Shape:
        student logits (B, K), teacher logits (B, K) or (M, B, K) → scalar, in nats

    Raises:
        ValueError: for a smoothing outside [0, 1).

    Reference:
        Touvron et al., "Training data-efficient image transformers & distillation through attention", ICML 2021, equation 3.

    Deviation:
        There the term is learned by a second head, on a distillation token; here by the student's only head.

    Example:
        >>> from torch import tensor
        >>> from lightning_transfer.contracts import logits_only
        >>> student, teacher = logits_only(tensor([[2.0, 1.0, 0.0]])), logits_only(tensor([[5.0, 6.0, 0.0]]))
        >>> round(HardLabels()(student, teacher, tensor([0])).item(), 4)
        1.4076
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing} lies in [0, 1); 0.1 is common")
        self.label_smoothing = label_smoothing

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(student, teacher.argmax(dim=-1), label_smoothing=self.label_smoothing)
