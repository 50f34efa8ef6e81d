"""Features to be the teacher's themselves."""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from lightning_transfer.contracts import Prediction
from lightning_transfer.losses.distill.feature import FeatureLoss


class FeatureRegression(FeatureLoss):
    """Mean squared difference between features of one shape, summed over pairs of layers.

    Nothing stands between the two, unlike in `FitNetHint`: what follows the layer in the teacher can follow it in the student.

    Args:
        student_layers: as for `FeatureLoss`; by default the last map.
        teacher_layers: as for `FeatureLoss`.

    Shape:
        (B, ...), the same for both → scalar, ≥ 0

    Raises:
        ValueError: for shapes that differ.

    Reference:
        Gupta, Hoffman, Malik, "Cross Modal Distillation for Supervision Transfer", CVPR 2016, equation 2.

    Example:
        >>> from torch import tensor
        >>> from lightning_transfer.contracts import Features, Prediction
        >>> student, teacher = (Prediction(tensor([[0.0]]), Features(tensor([[a, 1.0]]))) for a in (0.0, 2.0))
        >>> layers = {"student_layers": ["x"], "teacher_layers": ["x"]}
        >>> shown = [p._replace(features=p.features._replace(layers={"x": p.features.embedding})) for p in (student, teacher)]
        >>> FeatureRegression(**layers)(*shown, tensor([0])).item()
        2.0
    """

    view: ClassVar[Literal["embedding", "map"]] = "map"

    def prepare(self, student: Prediction, teacher: Prediction, targets: Tensor | None) -> None:
        for own, taught in self.pairs(student, teacher):
            if own.shape != taught.shape:
                raise ValueError(
                    f"the student's {tuple(own.shape[1:])} cannot be the teacher's {tuple(taught.shape[1:])}; choose layers of one shape, "
                    "or FitNetHint, which joins unlike ones"
                )

    def forward(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        return torch.stack([mse_loss(own, taught) for own, taught in self.pairs(student, teacher)]).sum()
