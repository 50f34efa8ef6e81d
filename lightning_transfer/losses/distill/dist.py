"""Relations instead of values: probabilities have to correlate with the teacher's, within images and within classes."""

from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import softmax

from lightning_transfer.losses.distill.logit import LogitLoss, check_temperature


class DIST(LogitLoss):
    """One minus Pearson's correlation of student and teacher probabilities, over the classes of an image and over the images of a class.

    Args:
        beta: weight of the correlation over classes, ≥ 0.
        gamma: weight of the correlation over the batch, ≥ 0.
        temperature: softening τ > 0; 1 for ImageNet, 4 for CIFAR-100.

    Shape:
        student logits (B, K), teacher logits (B, K) or (M, B, K) → scalar, ≥ 0; a batch of one image has no correlation over images, which counts as 0

    Raises:
        ValueError: for a temperature that is not positive.

    Reference:
        Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022, equations 9 and 10; the factor τ² is in the authors' code alone.

    Example:
        >>> from torch import tensor
        >>> from lightning_transfer.contracts import logits_only
        >>> student = logits_only(tensor([[1.0, 1.0, 0.0], [0.5, 1.0, 1.0], [1.0, 0.2, 1.0]]))
        >>> teacher = logits_only(tensor([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 0.0, 2.5]]))
        >>> round(DIST()(student, teacher, tensor([0, 1, 2])).item(), 4)
        0.6484
    """

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__()
        self.beta = beta
        self.gamma = gamma
        self.temperature = check_temperature(temperature)

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        q, p = softmax(student / self.temperature, dim=1), softmax(teacher / self.temperature, dim=1)
        inter, intra = 1 - _correlation(q, p).mean(), 1 - _correlation(q.T, p.T).mean()
        return self.temperature**2 * (self.beta * inter + self.gamma * intra)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation row by row; 0 where a row is constant."""
    first, second = first - first.mean(dim=1, keepdim=True), second - second.mean(dim=1, keepdim=True)
    norms = vector_norm(first, dim=1) * vector_norm(second, dim=1)
    correlation: Tensor = (first * second).sum(dim=1) / (norms + 1e-8)
    return correlation
