"""Losses for targets that are numbers."""

from torch import Tensor
from torch.nn.functional import mse_loss, smooth_l1_loss

from lightning_transfer.losses.supervised.base import SupervisedLoss


class MeanSquaredError(SupervisedLoss):
    """Mean squared difference, of targets in units of their deviation over the training images.

    Shape:
        logits (B, K), target (B, K) → scalar

    Example:
        >>> from torch import tensor
        >>> MeanSquaredError()(tensor([[1.0], [3.0]]), tensor([[1.0], [1.0]])).item()
        2.0
    """

    tasks = ("regression",)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return mse_loss(logits.float(), target.float())


class SmoothL1(SupervisedLoss):
    """Squared for differences below `beta`, linear above, so that single targets that are far off count less; Huber's loss over `beta`.

    Args:
        beta: where the one turns into the other, > 0, in deviations of the targets.

    Shape:
        logits (B, K), target (B, K) → scalar

    Raises:
        ValueError: for a beta that is not positive.

    Reference:
        Girshick, "Fast R-CNN", ICCV 2015, equation 3; after Huber, "Robust Estimation of a Location Parameter", 1964.

    Example:
        >>> from torch import tensor
        >>> SmoothL1()(tensor([[0.5], [3.0]]), tensor([[0.0], [0.0]])).item()  # (0.5²/2 + 3 - 0.5) / 2
        1.3125
    """

    tasks = ("regression",)

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        if not beta > 0:
            raise ValueError(f"beta={beta} must be positive; 1 deviation of the targets is common")
        self.beta = beta

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return smooth_l1_loss(logits.float(), target.float(), beta=self.beta)
