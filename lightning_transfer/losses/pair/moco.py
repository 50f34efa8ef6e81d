"""Momentum contrast: a student's view of an image is to be found by the teacher's of the same image."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from lightning_transfer.contracts import ViewLoss
from lightning_transfer.losses.gather import gathered
from lightning_transfer.losses.pair.contrast import check_temperature


class MoCo(ViewLoss):
    """Cross-entropy of telling the teacher's other view of an image from a queue of the teacher's views of earlier images.

    The student sees the first view, the teacher the second. The queue begins with random directions.

    Args:
        queue: length K ≥ 1, at least the images of a step over all processes; 65,536 for ImageNet, 4,096 for CIFAR.
        temperature: of the cosines, > 0.

    Shape:
        one embedding (B, D) each of student and teacher → scalar, in nats, ≥ 0

    Raises:
        ValueError: for values out of range, or a queue that is shorter than a batch.

    Reference:
        He, Fan, Wu, Xie, Girshick, "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020, equation 1; Chen,
        Fan, Girshick, He, "Improved Baselines with Momentum Contrastive Learning", 2020 (MoCo v2: the temperature and an MLP).

    Deviation:
        The queue's length need be no multiple of the batch: the newest overwrite the oldest wherever they lie. Batches are not
        shuffled between processes; a batch norm that leaks is cured by trainer.sync_batchnorm.

    Example:
        >>> from torch import eye, tensor
        >>> loss = MoCo(queue=2, temperature=0.5)
        >>> loss.build(4)
        >>> _ = loss.queue.copy_(eye(4)[2:])
        >>> round(loss([eye(4)[:2]], [eye(4)[:2]], tensor([-1, -1])).item(), 7)  # log(1 + 2 exp(-2))
        0.2395448
    """

    needs_teacher = True
    most_views = 2
    student_views = (0,)
    teacher_views = (1,)
    identical_buffers = ("queue", "pushed")

    queue: Tensor
    pushed: Tensor

    def __init__(self, queue: int = 4096, temperature: float = 0.2) -> None:
        super().__init__()
        if queue < 1:
            raise ValueError(f"queue={queue} of MoCo must be at least 1; its entries are the negatives")
        self.length = queue
        self.temperature = check_temperature(self, temperature)

    def build(self, width: int) -> None:
        start = torch.randn(self.length, width, generator=torch.Generator().manual_seed(0))  # the same in all processes
        self.register_buffer("queue", normalize(start))
        self.register_buffer("pushed", torch.tensor(0))  # images since the start; the oldest leave first

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], target: Tensor) -> Tensor:
        query, key = normalize(student[0].float()), normalize(teacher[0].float())
        positive = (query * key).sum(dim=1, keepdim=True)
        # a copy: the queue moves on before the backward pass
        logits = torch.cat([positive, query @ self.queue.clone().T], dim=1) / self.temperature
        if self.training:
            self._push(gathered(key)[0])
        return cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))

    def _push(self, keys: Tensor) -> None:
        if len(keys) > self.length:
            raise ValueError(
                f"queue={self.length} of MoCo is shorter than the {len(keys)} images of a batch; make it several times as long"
            )
        places = (int(self.pushed) + torch.arange(len(keys), device=keys.device)) % self.length
        self.queue[places] = keys
        self.pushed += len(keys)


class MoCoV3(ViewLoss):
    """Cross-entropy of finding the teacher's other view of an image among its views of the batch, for both views; times 2 · temperature.

    Over several processes the batch is that of all. The factor keeps the gradient's size independent of the temperature.

    Args:
        temperature: of the cosines, > 0; 0.2 for ViT, 1.0 for ResNet-50.

    Shape:
        two embeddings (B, D) each of student and teacher → scalar ≥ 0

    Raises:
        ValueError: for a temperature that is not positive, or a batch of one image.

    Reference:
        Chen, Xie, He, "An Empirical Study of Training Self-Supervised Vision Transformers", ICCV 2021, algorithm 1.

    Example:
        >>> from torch import eye, tensor
        >>> round(MoCoV3(temperature=0.5)([eye(2), eye(2)], [eye(2), eye(2)], tensor([-1, -1])).item(), 6)  # 2 log(1 + exp(-2))
        0.253856
    """

    needs_teacher = True
    needs_predictor = True
    most_views = 2

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        self.temperature = check_temperature(self, temperature)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], target: Tensor) -> Tensor:
        first, second = student
        return self._contrast(first, teacher[1]) + self._contrast(second, teacher[0])

    def _contrast(self, query: Tensor, key: Tensor) -> Tensor:
        keys, start = gathered(normalize(key.float()))
        if len(keys) < 2:
            raise ValueError("a batch of one image has no negatives for MoCoV3; set data.batch_size to 2 or more")
        logits = normalize(query.float()) @ keys.T / self.temperature
        own = start + torch.arange(len(query), device=query.device)
        return 2 * self.temperature * cross_entropy(logits, own)
