"""Self-distillation without labels: a student's view of an image is put among the same prototypes as the teacher's."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softmax

from lightning_transfer.contracts import ViewLoss
from lightning_transfer.losses.gather import gathered


class DINO(ViewLoss):
    """Cross-entropy between what the teacher makes of a large view and what the student makes of every other view, large or small.

    The teacher's scores are centred by their moving mean, against one prototype for all, and sharpened, against all alike. At
    log(D), D being the number of prototypes, both say of every image that all prototypes are alike: it has collapsed.

    Args:
        student_temperature: > 0.
        teacher_temperature: > 0, less than the student's.
        centre_momentum: weight of the old centre against the batch's mean, in [0, 1].

    Shape:
        V embeddings (B, D) of the student, 1 ≤ G ≤ V of the teacher → scalar, in nats, ≥ 0

    Raises:
        ValueError: for values out of range.

    Reference:
        Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, equation 3 and algorithm 1.

    Deviation:
        The teacher's temperature does not rise in the first epochs, and the prototypes learn from the first step on.

    Example:
        >>> from torch import tensor, zeros
        >>> loss = DINO()
        >>> loss.build(4096)
        >>> round(loss([zeros(2, 4096)] * 2, [zeros(2, 4096)] * 2, tensor([-1, -1])).item(), 4)  # log 4096
        8.3178
    """

    needs_teacher = True
    identical_buffers = ("centre",)

    centre: Tensor

    def __init__(
        self, student_temperature: float = 0.1, teacher_temperature: float = 0.04, centre_momentum: float = 0.9
    ) -> None:
        super().__init__()
        if not 0 < teacher_temperature < student_temperature:
            raise ValueError(
                f"teacher_temperature={teacher_temperature} and student_temperature={student_temperature} of DINO must be positive, the "
                "teacher's the less: it is to be surer than the student; 0.04 and 0.1 are common"
            )
        if not 0 <= centre_momentum <= 1:
            raise ValueError(f"centre_momentum={centre_momentum} of DINO must lie in [0, 1]; 0.9 is common")
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.centre_momentum = centre_momentum

    def build(self, width: int) -> None:
        self.register_buffer("centre", torch.zeros(width))

    def uniform(self) -> float | None:
        return math.log(len(self.centre))

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], target: Tensor) -> Tensor:
        log_q = [log_softmax(view.float() / self.student_temperature, dim=1) for view in student]
        p = [softmax((view.float() - self.centre) / self.teacher_temperature, dim=1) for view in teacher]
        pairs = [-(p[t] * log_q[s]).sum(dim=1).mean() for t in range(len(p)) for s in range(len(log_q)) if s != t]
        if self.training:
            mean = gathered(torch.cat([*teacher]).float().mean(dim=0, keepdim=True))[0].mean(dim=0)
            self.centre.lerp_(mean, 1 - self.centre_momentum)
        return torch.stack(pairs).mean()
