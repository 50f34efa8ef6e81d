"""The figures that every regressor reports."""

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection, R2Score


class R2(R2Score):
    """Share of the targets' variance that is explained, the mean over the targets that vary; not a number if none does.

    Deviation:
        torchmetrics' own sums squares in float32, of which nothing may be left for years such as 1950, and takes what varies by less
        than 0.01 for constant, whatever the unit.
    """

    def update(self, preds: Tensor, target: Tensor) -> None:
        exact = torch.float32 if target.device.type == "mps" else torch.float64  # Apple's GPUs have nothing finer
        super().update(preds.to(exact), target.to(exact))

    def compute(self) -> Tensor:
        return explained(
            self.residual, self.sum_squared_error - self.sum_error**2 / self.total, self.sum_squared_error
        ).nanmean()


def explained(residual: Tensor, variation: Tensor, power: Tensor) -> Tensor:
    """The share of the variation that is explained; not a number where the variation is none but for rounding.

    Args:
        residual: sum of squared errors.
        variation: sum of squared differences to the mean.
        power: sum of squares, from which that was computed.
    """
    return torch.where(variation > 1e-12 * power, 1 - residual / variation, torch.nan)


def regression_metrics() -> MetricCollection:
    """`mae`, the mean absolute error, and `rmse`, the root of the mean squared one, are in the targets' units, over all targets alike.

    `r2` is 1 for a perfect prediction and 0 for the mean, whatever the units; not a number where all targets are alike.
    """
    metrics = {"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False), "r2": R2()}
    return MetricCollection(metrics, compute_groups=False)  # type: ignore[arg-type]
