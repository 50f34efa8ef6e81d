"""A loss for many easy samples and few hard ones."""

from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_transfer.losses.supervised.base import SupervisedLoss


class Focal(SupervisedLoss):
    """Cross-entropy of each sample times (1 - p)^gamma, p being the probability of its class; gamma 0 is cross-entropy.

    Args:
        gamma: focus ≥ 0; 2 is the paper's.

    Shape:
        logits (B, K), target (B,) int64 → scalar, in nats

    Raises:
        ValueError: for a negative gamma.

    Reference:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 5, over softmax instead of sigmoid.

    Example:
        >>> from torch import tensor
        >>> loss = Focal(gamma=2.0)
        >>> loss.set_num_classes(3)
        >>> round(loss(tensor([[2.0, 1.0, 0.0]]), tensor([0])).item(), 4)
        0.0457
    """

    tasks = ("classification",)
    takes_soft_targets = False

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        if gamma < 0:
            raise ValueError(f"gamma={gamma} must not be negative; 2 is common, 0 is cross-entropy")
        self.gamma = gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        entropy = cross_entropy(logits.float(), target, reduction="none")
        weight = self.class_weight[target]
        focus = (1 - (-entropy).exp()).clamp(min=0) ** self.gamma
        return (weight * focus * entropy).sum() / weight.sum()
