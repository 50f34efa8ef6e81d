"""One for all: layers of unlike architectures meet in the space of the classes."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import log_softmax, one_hot, softmax

from lightning_transfer.contracts import Prediction
from lightning_transfer.losses.distill.feature import pooled
from lightning_transfer.losses.distill.logit import LogitLoss, check_temperature


class OFA(LogitLoss):
    """Cross-entropy with the teacher's probabilities, the target's enhanced, for the student's logits and for exits from its layers.

    Each named layer of the student gets an exit to logits, so nothing of the teacher but its logits is needed: a convolutional network
    can learn from a transformer. With exponent 1 and no layers this is the cross-entropy of soft targets.

    Args:
        student_layers: module paths in the student that get an exit, as for `FeatureLoss`.
        exponent: how much the target's probability is enhanced, > 0; 1 not at all, 1 to 1.5 in the paper.
        temperature: softening > 0; 1 in the paper.

    Shape:
        student logits (B, K), teacher logits (B, K) or (M, B, K), target (B,) int64 → scalar, in nats

    Raises:
        ValueError: for an exponent or temperature that is not positive.

    Reference:
        Hao et al., "One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge Distillation", NeurIPS 2023, equation 5.

    Deviation:
        An exit is an average over places, layer norm and a linear layer; the paper's has convolutions or a transformer block in front.

    Example:
        >>> from torch import tensor
        >>> from lightning_transfer.contracts import logits_only
        >>> student = logits_only(tensor([[1.0, 1.0, 0.0], [0.5, 1.0, 1.0], [1.0, 0.2, 1.0]]))
        >>> teacher = logits_only(tensor([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 0.0, 2.5]]))
        >>> round(OFA(exponent=1.5)(student, teacher, tensor([0, 1, 2])).item(), 4)
        1.2326
    """

    needs_target = True
    needs_class = True

    def __init__(
        self, student_layers: Sequence[str] | None = None, exponent: float = 1.0, temperature: float = 1.0
    ) -> None:
        super().__init__()
        if not exponent > 0:
            raise ValueError(f"exponent={exponent} must be positive; 1 leaves the target's probability as it is")
        self.student_layers = list(student_layers or ())
        self.exponent = exponent
        self.temperature = check_temperature(temperature)

    def prepare(self, student: Prediction, teacher: Prediction, targets: Tensor | None) -> None:
        widths = [pooled(feature).shape[1] for feature in self._layers(student)]
        classes = student.logits.shape[-1]
        self.exits = nn.ModuleList([nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes)) for width in widths])

    def forward(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        loss = super().forward(student, teacher, target)
        for leave, feature in zip(self.exits if self.student_layers else (), self._layers(student), strict=True):
            early = student._replace(logits=leave(pooled(feature)))
            loss = loss + super().forward(early, teacher, target)
        return loss

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        is_target = one_hot(target, student.shape[1]).float()
        p = softmax(teacher / self.temperature, dim=1)
        enhanced = (p + is_target) ** self.exponent - is_target
        return -(enhanced * log_softmax(student / self.temperature, dim=1)).sum(dim=1).mean()

    def _layers(self, student: Prediction) -> list[Tensor]:
        return [student.features.layers[layer].float() for layer in self.student_layers]
