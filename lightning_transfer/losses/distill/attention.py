"""Attention transfer: where the student's maps are strong, the teacher's have to be."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import adaptive_avg_pool2d, normalize

from lightning_transfer.contracts import Prediction
from lightning_transfer.losses.distill.feature import FeatureLoss


class AttentionTransfer(FeatureLoss):
    """Difference between maps of attention: squares summed over channels, scaled to unit length, summed over pairs of layers.

    The larger of two maps is averaged down to the smaller, so no projector is needed.

    Args:
        student_layers: as for `FeatureLoss`; by default the last map.
        teacher_layers: as for `FeatureLoss`.
        mode: `code` is the authors' code, the mean of squared differences (weight 1000); `paper` their equation, the difference's
            length averaged over images.

    Shape:
        maps (B, C, H, W) of any widths and sizes, or tokens (B, N, D) with one N → scalar, ≥ 0

    Raises:
        ValueError: for another mode, for maps against tokens, or for unlike numbers of tokens.

    Reference:
        Zagoruyko, Komodakis, "Paying More Attention to Attention", ICLR 2017, equation 2.

    Example:
        >>> from torch import ones, tensor
        >>> from lightning_transfer.contracts import Features
        >>> student = Prediction(ones(1, 2), Features(ones(1, 1), (tensor([[[[1.0, 0.0]]]]),)))
        >>> teacher = Prediction(ones(1, 2), Features(ones(1, 1), (tensor([[[[0.0, 1.0]]]]),)))
        >>> AttentionTransfer()(student, teacher, tensor([0])).item()
        1.0
    """

    view: ClassVar[Literal["embedding", "map"]] = "map"

    def __init__(
        self,
        student_layers: Sequence[str] | None = None,
        teacher_layers: Sequence[str] | None = None,
        mode: Literal["code", "paper"] = "code",
    ) -> None:
        super().__init__(student_layers, teacher_layers)
        if mode not in ("code", "paper"):
            raise ValueError(f"mode={mode!r} must be code or paper")
        self.mode = mode

    def prepare(self, student: Prediction, teacher: Prediction, targets: Tensor | None) -> None:
        self(student, teacher, torch.tensor([]))  # unlike shapes are found before training

    def forward(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        return torch.stack([self._compare(*pair) for pair in self.pairs(student, teacher)]).sum()

    def _compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        if (
            student.ndim != teacher.ndim
            or student.ndim == 2
            or (student.ndim == 3 and student.shape[1] != teacher.shape[1])
        ):
            raise ValueError(
                f"AttentionTransfer cannot compare the student's {tuple(student.shape[1:])} with the teacher's "
                f"{tuple(teacher.shape[1:])}; it takes two maps, or as many tokens"
            )
        if student.ndim == 4:
            size = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
            student, teacher = adaptive_avg_pool2d(student, size), adaptive_avg_pool2d(teacher, size)
        difference = _attention(student) - _attention(teacher)
        return difference.square().mean() if self.mode == "code" else vector_norm(difference, dim=1).mean()


def _attention(feature: Tensor) -> Tensor:
    channels = 1 if feature.ndim == 4 else 2
    return normalize(feature.square().mean(dim=channels).flatten(1))
