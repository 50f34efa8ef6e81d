"""The usual loss for several labels an image."""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lightning_transfer.losses.supervised.base import SupervisedLoss


class BinaryCrossEntropy(SupervisedLoss):
    """Sigmoid cross-entropy over all image-class pairs, in nats; a class's weight multiplies its positives.

    Shape:
        logits (B, K), target (B, K) in [0, 1] → scalar

    Example:
        >>> from torch import tensor
        >>> loss = BinaryCrossEntropy()
        >>> loss.set_num_classes(2)
        >>> round(loss(tensor([[0.0, 0.0]]), tensor([[1.0, 0.0]])).item(), 4)
        0.6931
    """

    tasks = ("multi_label",)

    def balance(self, counts: Tensor, total: int) -> None:
        """Weigh each class's positives by negatives over positives, so that both sides count alike."""
        self.set_class_weight((total - counts) / counts.clamp(min=1))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(logits.float(), target.float(), pos_weight=self.class_weight)
