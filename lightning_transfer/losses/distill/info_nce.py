"""Contrast without memory of the data: a student's view of an image is to be nearest to the teacher's of the same image."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from lightning_transfer.contracts import Prediction
from lightning_transfer.losses.distill.feature import FeatureLoss, pooled
from lightning_transfer.losses.distill.logit import check_temperature
from lightning_transfer.losses.gather import gathered


class InfoNCE(FeatureLoss):
    """Cross-entropy of finding the teacher's embedding of an image among those of the batch and of a queue of earlier images.

    The sibling of `CRD` for data too large for its banks, or without labels: nothing is kept of an image but what is in the queue. Over
    several processes the batch is that of all.

    Args:
        queue: embeddings of earlier images to compare with, ≥ 0; fewer than there are images, or an image meets itself.
        temperature: of the cosines, > 0; 0.07 to 0.2 are common.
        student_layers: as for `FeatureLoss`, averaged over places; by default the embedding.
        teacher_layers: as for `FeatureLoss`.

    Shape:
        embeddings (B, D) of any widths → scalar, in nats, ≥ 0

    Raises:
        ValueError: for a negative queue, a temperature that is not positive, or several layers.

    Reference:
        van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, equation 4; He et al., "Momentum
        Contrast for Unsupervised Visual Representation Learning", CVPR 2020, section 3.2 (the queue).
    """

    identical_buffers = ("queue",)

    def __init__(
        self,
        queue: int = 0,
        temperature: float = 0.1,
        student_layers: Sequence[str] | None = None,
        teacher_layers: Sequence[str] | None = None,
    ) -> None:
        super().__init__(student_layers, teacher_layers)
        if queue < 0:
            raise ValueError(f"queue={queue} must be at least 0; 0 compares within the batch alone")
        self.length = queue
        self.temperature = check_temperature(temperature)
        require_one_layer(self)

    def prepare(self, student: Prediction, teacher: Prediction, targets: Tensor | None) -> None:
        ((s, t),) = self.pairs(student, teacher)
        width = pooled(t).shape[1]
        self.projector = nn.Linear(pooled(s).shape[1], width)
        self.register_buffer("queue", torch.zeros(self.length, width))
        self.register_buffer("pushed", torch.tensor(0))  # images since the start; the oldest leave first

    queue: Tensor
    pushed: Tensor

    def forward(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        ((s, t),) = self.pairs(student, teacher)
        own = normalize(self.projector(pooled(s)))
        batch, offset = gathered(normalize(pooled(t)))
        # a copy: the queue moves on before the backward pass
        earlier = self.queue[: min(int(self.pushed), self.length)].clone()
        cosine = own @ torch.cat([batch, earlier]).T
        self._push(batch)
        return cross_entropy(cosine / self.temperature, offset + torch.arange(len(own), device=own.device))

    def _push(self, batch: Tensor) -> None:
        if self.length:
            newest = batch[-self.length :]
            start = int(self.pushed) + len(batch) - len(newest)
            self.queue[(start + torch.arange(len(newest), device=batch.device)) % self.length] = newest
        self.pushed += len(batch)


def require_one_layer(loss: FeatureLoss) -> None:
    """Refuse several layers where a loss learns one space.

    Raises:
        ValueError: naming them.
    """
    if len(loss.student_layers) > 1:
        raise ValueError(
            f"student_layers={list(loss.student_layers)}: {type(loss).__name__} compares one pair; give the loss several times"
        )
