"""Contrastive representation distillation, with a memory of every training image on both sides."""

from collections.abc import Sequence
from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lightning_transfer.contracts import Prediction
from lightning_transfer.losses.distill.feature import FeatureLoss, pooled
from lightning_transfer.losses.distill.info_nce import require_one_layer
from lightning_transfer.losses.distill.logit import check_temperature
from lightning_transfer.losses.gather import gathered
from lightning_transfer.seeds import derived_seed, run_seed

_SMALL = 1e-7  # the authors', eps


class CRD(FeatureLoss):
    """Noise-contrastive estimation: tell the other network's memory of an image from those of images of other classes, on both sides.

    Student and teacher are projected to `dim` numbers of unit length, by projections that both train. Each is scored against the
    *other's* memory bank, which holds one row for every training image and moves half-way to what was just seen. Banks, scale and
    projections are in the checkpoint, and what is drawn depends on seed, step and image alone: a resumed training equals an
    uninterrupted one, and several processes equal one.

    Memory: two banks of N × dim × 4 bytes, 51 MB for 50,000 images and 1.3 GB for ImageNet; beyond that take `InfoNCE`.

    Args:
        negatives: images of other classes to tell an image from, ≥ 1; 16384 in the paper. Drawn with replacement.
        temperature: of the inner products, > 0; 0.07 in the authors' code, 0.1 in the paper.
        momentum: of the banks, in [0, 1).
        dim: width of the common space.
        student_layers: as for `FeatureLoss`, averaged over places; by default the embedding.
        teacher_layers: as for `FeatureLoss`.

    Shape:
        embeddings (B, D) of any widths, target (B,) int64, indices (B,) int64 in [0, N) → scalar, in nats, ≥ 0

    Raises:
        ValueError: for values out of range, for data without indices or labels, or of a single class.

    Reference:
        Tian, Krishnan, Isola, "Contrastive Representation Distillation", ICLR 2020, equations 11, 18 and 19.

    Deviation:
        Negatives are drawn with replacement, as the noise distribution of the estimator is, which costs a hundredth of drawing without.
        An image that is twice in a batch moves its row once, by the mean.
    """

    needs_target = True
    needs_class = True
    needs_indices: ClassVar[bool] = True
    identical_buffers = ("student_bank", "teacher_bank")
    student_bank: Tensor
    teacher_bank: Tensor
    scale: Tensor
    steps: Tensor
    others: Tensor
    first: Tensor
    count: Tensor

    def __init__(
        self,
        negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
        dim: int = 128,
        student_layers: Sequence[str] | None = None,
        teacher_layers: Sequence[str] | None = None,
    ) -> None:
        super().__init__(student_layers, teacher_layers)
        for name, value in (("negatives", negatives), ("dim", dim)):
            if value < 1:
                raise ValueError(
                    f"{name}={value} must be at least 1; {16384 if name == 'negatives' else 128} is common"
                )
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum} lies in [0, 1); 0.5 is common")
        self.negatives, self.momentum, self.dim = negatives, momentum, dim
        self.temperature = check_temperature(temperature)
        require_one_layer(self)

    def prepare(self, student: Prediction, teacher: Prediction, targets: Tensor | None) -> None:
        if targets is None or targets.ndim != 1 or not len(targets) or targets.min() < 0:
            raise ValueError(
                "CRD keeps a row for every training image and draws images of other classes: it needs the class of each by its number, "
                "as the package's datamodules give; take InfoNCE for data without indices or labels"
            )
        if targets.min() == targets.max():
            raise ValueError("CRD draws images of other classes, but all training images are of one")
        ((s, t),) = self.pairs(student, teacher)
        self.student_projector = nn.Linear(pooled(s).shape[1], self.dim)
        self.teacher_projector = nn.Linear(pooled(t).shape[1], self.dim)
        # the same in every process; rows have unit length on average
        generator = torch.Generator().manual_seed(derived_seed(run_seed(), len(targets)))
        for name in ("student_bank", "teacher_bank"):
            drawn = torch.rand(len(targets), self.dim, generator=generator)
            self.register_buffer(name, (2 * drawn - 1) / sqrt(self.dim / 3))
        self.register_buffer("scale", torch.full((2,), -1.0))  # Z of student and teacher; -1 until the first batch
        self.register_buffer("steps", torch.tensor(0))
        self._remember_classes(targets)

    def _remember_classes(self, targets: Tensor) -> None:
        """Sort images by class: those of other classes are then all but one stretch."""
        count = torch.bincount(targets)
        for name, value in (
            ("others", targets.argsort(stable=True)),
            ("first", count.cumsum(0) - count),
            ("count", count),
        ):
            self.register_buffer(name, value, persistent=False)

    def forward(
        self, student: Prediction, teacher: Prediction, target: Tensor, indices: Tensor | None = None
    ) -> Tensor:
        if indices is None:
            raise ValueError(
                "CRD needs the images' indices, and the batch has none; take InfoNCE, or a datamodule of the package"
            )
        ((s, t),) = self.pairs(student, teacher)
        own = normalize(self.student_projector(pooled(s)))
        taught = normalize(self.teacher_projector(pooled(t)))
        return self.contrast(own, taught, indices, self._draw(target, indices))

    def contrast(self, student: Tensor, teacher: Tensor, indices: Tensor, negatives: Tensor) -> Tensor:
        """Score a batch against the banks, then move their rows.

        Args:
            student: (B, dim) of unit length.
            teacher: (B, dim) of unit length.
            indices: (B,) rows of the batch.
            negatives: (B, K) rows to tell them from.
        """
        rows = torch.cat([indices.unsqueeze(1), negatives], dim=1)
        scores = [self._score(student, self.teacher_bank, rows), self._score(teacher, self.student_bank, rows)]
        self._set_scale(scores)
        noise = negatives.shape[1] / len(self.student_bank)  # K times the chance of drawing an image
        losses = [_estimate(score / scale, noise) for score, scale in zip(scores, self.scale.clone(), strict=True)]
        everywhere, _ = gathered(indices)
        for bank, seen in ((self.student_bank, student), (self.teacher_bank, teacher)):
            self._move(bank, everywhere, gathered(seen)[0])
        self.steps += 1
        return losses[0] + losses[1]

    def _draw(self, target: Tensor, indices: Tensor) -> Tensor:
        """Draw (B, K) images of other classes, by seed, step and image."""
        step, total = int(self.steps), len(self.student_bank)
        drawn = torch.empty(len(indices), self.negatives, dtype=torch.int64)
        for row, number in zip(drawn, indices.tolist(), strict=True):
            row.random_(generator=torch.Generator().manual_seed(derived_seed(run_seed(), step, number)))
        first, count = self.first[target].unsqueeze(1), self.count[target].unsqueeze(1)
        place = drawn.to(indices.device) % (total - count)
        return self.others[place + count * (place >= first)]

    def _score(self, view: Tensor, bank: Tensor, rows: Tensor) -> Tensor:
        """Exponential inner products (B, 1 + K) of views with rows of a bank, of which a copy is kept: it moves before the backward pass."""
        if rows.numel() < len(bank):
            products = (bank[rows] @ view.unsqueeze(2)).squeeze(2)
        else:  # all of them are fewer
            products = (view @ bank.clone().T).gather(1, rows)
        return (products / self.temperature).exp()

    def _set_scale(self, scores: list[Tensor]) -> None:
        if self.scale[0] < 0:
            means = torch.stack([gathered(score.mean(dim=1))[0].mean() for score in scores])
            self.scale.copy_(means * len(self.student_bank))

    @torch.no_grad()
    def _move(self, bank: Tensor, indices: Tensor, seen: Tensor) -> None:
        unique, place, times = torch.unique(indices, return_inverse=True, return_counts=True)
        mean = seen.new_zeros(len(unique), self.dim).index_add_(0, place, seen) / times.unsqueeze(1)
        bank[unique] = normalize(self.momentum * bank[unique] + (1 - self.momentum) * mean).to(bank.dtype)


def _estimate(ratio: Tensor, noise: float) -> Tensor:
    """Equation 18 from the density ratios (B, 1 + K), of which the first is the image itself."""
    positive = (ratio[:, 0] / (ratio[:, 0] + noise + _SMALL)).log()
    negative = (noise / (ratio[:, 1:] + noise + _SMALL)).log().sum(dim=1)
    return -(positive + negative).mean()
