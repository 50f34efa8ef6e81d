"""Soft targets: the student learns the teacher's whole distribution over classes."""

from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from lightning_transfer.losses.distill.logit import LogitLoss, check_temperature


class SoftTargetKL(LogitLoss):
    """Kullback-Leibler divergence from softened teacher to softened student probabilities.

    The factor T² keeps the gradient's size independent of the temperature. Alone, at temperature 1, on mixed images and for very many
    epochs this is function matching: the student learns the teacher as a function, and labels are not needed.

    Args:
        temperature: softening T > 0, dimensionless; 1 leaves the probabilities as they are.

    Shape:
        student logits (B, K), teacher logits (B, K) or (M, B, K) → scalar, in nats, ≥ 0

    Raises:
        ValueError: for a temperature that is not positive, or teacher and student with different class counts.

    Reference:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2; Beyer et al., "Knowledge distillation: A
        good teacher is patient and consistent", CVPR 2022, section 3 (function matching).

    Example:
        >>> from torch import tensor
        >>> from lightning_transfer.contracts import logits_only
        >>> student, teacher = logits_only(tensor([[3.0, 2.0, 1.0]])), logits_only(tensor([[1.0, 2.0, 3.0]]))
        >>> round(SoftTargetKL(temperature=4.0)(student, teacher, tensor([0])).item(), 4)
        1.3196
    """

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        log_q = log_softmax(student / self.temperature, dim=-1)
        log_p = log_softmax(teacher / self.temperature, dim=-1)
        return self.temperature**2 * kl_div(log_q, log_p, reduction="batchmean", log_target=True)
