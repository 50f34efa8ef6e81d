"""Hints: the student's features, through a regressor, become the teacher's."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lightning_transfer.contracts import Prediction
from lightning_transfer.losses.distill.feature import FeatureLoss
from lightning_transfer.losses.distill.projector import make_projector


class FitNetHint(FeatureLoss):
    """Mean squared difference between projected student features and the teacher's, summed over pairs of layers.

    The projectors are made for the shapes that an example shows, train along, and are no part of the student.

    Args:
        student_layers: as for `FeatureLoss`; by default the last map.
        teacher_layers: as for `FeatureLoss`.
        relu: whether projected maps end in a ReLU, for teachers whose map does; false lets the regressor reach any value.

    Shape:
        maps (B, C, H, W), tokens (B, N, D) or vectors (B, D), of unlike widths → scalar, ≥ 0

    Raises:
        ValueError: for shapes that no projector can join.

    Reference:
        Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, equation 3.

    Deviation:
        There the hint trains the lower half first; here all losses train together, as in the later comparisons.
    """

    view: ClassVar[Literal["embedding", "map"]] = "map"

    def __init__(
        self,
        student_layers: Sequence[str] | None = None,
        teacher_layers: Sequence[str] | None = None,
        relu: bool = False,
    ) -> None:
        super().__init__(student_layers, teacher_layers)
        self.relu = relu

    def prepare(self, student: Prediction, teacher: Prediction, targets: Tensor | None) -> None:
        self.projectors = nn.ModuleList([make_projector(s, t, self.relu) for s, t in self.pairs(student, teacher)])

    def forward(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        pairs = zip(self.projectors, self.pairs(student, teacher), strict=True)
        return torch.stack([mse_loss(projector(s), t) for projector, (s, t) in pairs]).sum()
