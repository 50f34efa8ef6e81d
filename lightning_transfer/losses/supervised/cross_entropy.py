"""The usual loss for one label an image."""

from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_transfer.losses.supervised.base import SupervisedLoss


class CrossEntropy(SupervisedLoss):
    """Softmax cross-entropy, in nats; with class weights the mean is weighted, by soft targets as by class numbers.

    Args:
        label_smoothing: share of the target spread evenly over all classes, in [0, 1).

    Shape:
        logits (B, K), target (B,) int64 or (B, K) probabilities → scalar

    Raises:
        ValueError: for a smoothing outside [0, 1).

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7 (smoothing).

    Example:
        >>> from torch import tensor
        >>> loss = CrossEntropy()
        >>> loss.set_num_classes(3)
        >>> round(loss(tensor([[2.0, 1.0, 0.0]]), tensor([0])).item(), 4)
        0.4076
    """

    tasks = ("classification",)

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing} lies in [0, 1); 0.1 is common")
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        loss = cross_entropy(logits.float(), target, weight=self.class_weight, label_smoothing=self.label_smoothing)
        if (
            target.ndim == 2
        ):  # torch divides by the number of images here, and by their weights where targets are numbers
            loss = loss * len(target) / (target * self.class_weight).sum()
        return loss
