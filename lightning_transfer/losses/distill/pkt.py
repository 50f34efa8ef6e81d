"""Probabilistic transfer: whom an image resembles, as a distribution over the batch."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_transfer.contracts import Prediction
from lightning_transfer.losses.distill.feature import FeatureLoss, pooled

_SMALL = 1e-7  # the authors'


class PKT(FeatureLoss):
    """Divergence between the teacher's and the student's distribution of cosine similarity over the batch, as mean over all pairs.

    Args:
        student_layers: as for `FeatureLoss`, averaged over places; by default the embedding. The usual weight is 30000.
        teacher_layers: as for `FeatureLoss`.

    Shape:
        embeddings (B, D) of any widths → scalar, ≥ 0 up to rounding

    Reference:
        Passalis, Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV 2018, equations 6 to 9.

    Example:
        >>> from torch import ones, tensor
        >>> from lightning_transfer.contracts import Features
        >>> s, t = tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]), tensor([[1.0, 1.0], [0.0, 1.0], [2.0, 0.0]])
        >>> student, teacher = Prediction(ones(3, 2), Features(s)), Prediction(ones(3, 2), Features(t))
        >>> round(PKT()(student, teacher, tensor([0, 0, 0])).item(), 4)
        0.015
    """

    def forward(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        losses = []
        for s, t in self.pairs(student, teacher):
            q, p = _similarity(pooled(s)), _similarity(pooled(t))
            losses.append((p * ((p + _SMALL) / (q + _SMALL)).log()).mean())
        return torch.stack(losses).sum()


def _similarity(embedding: Tensor) -> Tensor:
    unit = normalize(embedding, eps=_SMALL)
    cosine = (unit @ unit.T + 1) / 2
    return cosine / cosine.sum(dim=1, keepdim=True)
