"""Relational distillation: distances and angles between images, as the teacher sees them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from lightning_transfer.contracts import Prediction
from lightning_transfer.losses.distill.feature import FeatureLoss, pooled

_LEAST = 1e-12  # of a squared distance: the root's gradient is infinite at 0


class RKD(FeatureLoss):
    """Smooth L1 difference of all distances, in units of their mean, and of all angles between three images.

    Neither shift, rotation nor scale of either side counts. Memory grows with B³.

    Args:
        distance: weight of the distances, ≥ 0; 25 in the paper.
        angle: weight of the angles, ≥ 0; 50 in the paper.
        student_layers: as for `FeatureLoss`, averaged over places; by default the embedding.
        teacher_layers: as for `FeatureLoss`.

    Shape:
        embeddings (B, D) of any widths → scalar, ≥ 0; 0 for a single image

    Reference:
        Park et al., "Relational Knowledge Distillation", CVPR 2019, equations 4 to 9.

    Example:
        >>> from torch import ones, tensor
        >>> from lightning_transfer.contracts import Features
        >>> s, t = tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]), tensor([[1.0, 1.0], [0.0, 1.0], [2.0, 0.0]])
        >>> student, teacher = Prediction(ones(3, 2), Features(s)), Prediction(ones(3, 2), Features(t))
        >>> round(RKD()(student, teacher, tensor([0, 0, 0])).item(), 4)
        9.7212
    """

    def __init__(
        self,
        distance: float = 25.0,
        angle: float = 50.0,
        student_layers: Sequence[str] | None = None,
        teacher_layers: Sequence[str] | None = None,
    ) -> None:
        super().__init__(student_layers, teacher_layers)
        self.distance = distance
        self.angle = angle

    def forward(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        losses = []
        for s, t in self.pairs(student, teacher):
            (distance_s, angle_s), (distance_t, angle_t) = _relations(pooled(s)), _relations(pooled(t))
            distance, angle = smooth_l1_loss(distance_s, distance_t), smooth_l1_loss(angle_s, angle_t)
            losses.append(self.distance * distance + self.angle * angle)
        return torch.stack(losses).sum()


def _relations(embedding: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (B, B) in units of their mean, and cosines (B, B, B) of the angles at each image between two others."""
    size = len(embedding)
    difference = embedding.unsqueeze(0) - embedding.unsqueeze(1)
    length = difference.square().sum(dim=2).clamp(min=_LEAST).sqrt()
    direction = difference / length.unsqueeze(2)
    distance = length * ~torch.eye(size, dtype=torch.bool, device=embedding.device)
    mean = distance.sum() / max(1, size * (size - 1))
    return distance / mean.clamp(min=_LEAST), direction @ direction.transpose(1, 2)
