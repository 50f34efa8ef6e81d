"""Similarity preserved: images that are alike for the teacher have to be alike for the student."""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_transfer.contracts import Prediction
from lightning_transfer.losses.distill.feature import FeatureLoss


class SimilarityPreserving(FeatureLoss):
    """Mean squared difference of the batch's matrices of inner products, whose rows have unit length; summed over pairs of layers.

    Args:
        student_layers: as for `FeatureLoss`; by default the last map. The paper's weight is 3000.
        teacher_layers: as for `FeatureLoss`.

    Shape:
        features with B in front, of any shapes → scalar, ≥ 0

    Reference:
        Tung, Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, equation 4.

    Example:
        >>> from torch import ones, tensor
        >>> from lightning_transfer.contracts import Features
        >>> s, t = tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]), tensor([[1.0, 1.0], [0.0, 1.0], [2.0, 0.0]])
        >>> student, teacher = Prediction(ones(3, 2), Features(s, (s,))), Prediction(ones(3, 2), Features(t, (t,)))
        >>> round(SimilarityPreserving()(student, teacher, tensor([0, 0, 0])).item(), 4)
        0.1746
    """

    view: ClassVar[Literal["embedding", "map"]] = "map"

    def forward(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        differences = [_gram(s) - _gram(t) for s, t in self.pairs(student, teacher)]
        return torch.stack([difference.square().mean() for difference in differences]).sum()


def _gram(feature: Tensor) -> Tensor:
    flat = feature.flatten(1)
    return normalize(flat @ flat.T)
