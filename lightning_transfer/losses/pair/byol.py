"""Bootstrap: a student predicts its teacher's view of the same image; there are no negatives."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import cosine_similarity

from lightning_transfer.contracts import ViewLoss


class BYOL(ViewLoss):
    """2 - 2 cos between the student's prediction from a view and the teacher's projection of the other, summed over both views.

    Shape:
        two embeddings (B, D) each of student and teacher → scalar in [0, 8]

    Reference:
        Grill et al., "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning", NeurIPS 2020, equation 2 and its symmetric
        form.

    Example:
        >>> from torch import eye, tensor
        >>> BYOL()([eye(2), eye(2)], [eye(2), eye(2).flip(0)], tensor([-1, -1])).item()  # the first predicts nothing, the second all
        2.0
    """

    needs_teacher = True
    needs_predictor = True
    most_views = 2

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], target: Tensor) -> Tensor:
        first, second = student
        return _distance(first, teacher[1]) + _distance(second, teacher[0])


def _distance(prediction: Tensor, projection: Tensor) -> Tensor:
    return 2 - 2 * cosine_similarity(prediction.float(), projection.float()).mean()
