"""Decoupled distillation: how sure the teacher is of the target, and how it ranks the other classes, weighed apart."""

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from lightning_transfer.losses.distill.logit import LogitLoss, check_temperature


class DKD(LogitLoss):
    """Divergence over target against rest, plus divergence among the other classes.

    Soft targets weigh the second term by what the teacher leaves to the other classes, so that a sure teacher teaches little; here it
    has a weight of its own. With p_y the teacher's probability of the target, SoftTargetKL is the first term plus (1 - p_y) times the second.

    Args:
        alpha: weight of target against rest, ≥ 0; 1 in the paper.
        beta: weight of the other classes, ≥ 0; 8 for CIFAR-100 (2 for small students), 0.5 to 2 for ImageNet.
        temperature: softening T > 0; 4 for CIFAR-100, 1 for ImageNet.

    Shape:
        student logits (B, K), teacher logits (B, K) or (M, B, K), target (B,) int64 → scalar, in nats, ≥ 0

    Raises:
        ValueError: for a temperature that is not positive, or a negative weight.

    Reference:
        Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, equation 7.

    Deviation:
        Sums of probabilities are logsumexps of logits, so that no probability underflows to a logarithm of 0.

    Example:
        >>> from torch import tensor
        >>> from lightning_transfer.contracts import logits_only
        >>> student, teacher = logits_only(tensor([[1.0, 1.5, 0.5, -2.0]])), logits_only(tensor([[2.0, 1.0, 0.0, -1.0]]))
        >>> round(DKD(alpha=1.0, beta=8.0, temperature=4.0)(student, teacher, tensor([0])).item(), 4)
        1.7503
    """

    needs_target = True
    needs_class = True

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0) -> None:
        super().__init__()
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not value >= 0:
                raise ValueError(f"{name}={value} must be at least 0; alpha 1 and beta 8 are common")
        self.alpha = alpha
        self.beta = beta
        self.temperature = check_temperature(temperature)

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        log_q, log_p = self._decouple(student, target), self._decouple(teacher, target)
        terms = [kl_div(q, p, reduction="batchmean", log_target=True) for q, p in zip(log_q, log_p, strict=True)]
        return self.temperature**2 * (self.alpha * terms[0] + self.beta * terms[1])

    def _decouple(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of target and rest (B, 2), and of the other classes among themselves (B, K - 1)."""
        softened = logits / self.temperature
        is_target = torch.zeros_like(softened, dtype=torch.bool).scatter_(1, target.unsqueeze(1), True)
        others = softened[~is_target].view(len(softened), -1)
        pair = torch.stack([softened[is_target], others.logsumexp(dim=1)], dim=1)
        return log_softmax(pair, dim=1), log_softmax(others, dim=1)
