"""Likeness of views without negatives or teacher: what keeps embeddings apart are their variance and covariance."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, relu

from lightning_transfer.contracts import ViewLoss
from lightning_transfer.losses.gather import gathered_with_gradient

_EPSILON = 1e-4  # the authors' code's, below the square root


class VICReg(ViewLoss):
    """Distance of two views, a hinge that keeps each dimension's deviation at 1, and the covariances between dimensions, weighted.

    Over several processes the batch is that of all.

    Args:
        invariance: weight of the mean squared distance, ≥ 0.
        variance: weight of the hinge, ≥ 0.
        covariance: weight of the covariances, ≥ 0.

    Shape:
        two embeddings (B, D) → scalar ≥ 0

    Raises:
        ValueError: for negative weights, or a batch of one image.

    Reference:
        Bardes, Ponce, LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", ICLR 2022, equation 6.

    Deviation:
        As in the authors' code the distance is a mean over dimensions too and the hinge a mean over both views: equation 6 has sums.

    Example:
        >>> from torch import tensor, zeros
        >>> round(VICReg()([zeros(4, 2), zeros(4, 2)], [], tensor([-1] * 4)).item(), 4)  # collapsed: 25 (1 - 0.01)
        24.75
    """

    most_views = 2

    def __init__(self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> None:
        super().__init__()
        if min(invariance, variance, covariance) < 0:
            raise ValueError(
                f"invariance={invariance}, variance={variance}, covariance={covariance} of VICReg must not be negative; 25, 25 and 1 "
                "are common"
            )
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], target: Tensor) -> Tensor:
        first, second = (gathered_with_gradient(view.float())[0] for view in student)
        if len(first) < 2:
            raise ValueError("a batch of one image has no variance for VICReg; set data.batch_size to 2 or more")
        hinge = sum(relu(1 - (view.var(dim=0) + _EPSILON).sqrt()).mean() / 2 for view in (first, second))
        between = sum(_covariance(view) for view in (first, second))
        return self.invariance * mse_loss(first, second) + self.variance * hinge + self.covariance * between


def _covariance(view: Tensor) -> Tensor:
    """Squared covariances between different dimensions, their sum over the number of dimensions."""
    centred = view - view.mean(dim=0)
    squares = (centred.T @ centred / (len(view) - 1)).square()
    return (squares.sum() - torch.diagonal(squares).sum()) / view.shape[1]
