"""The figures that every regressor reports."""

from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection, R2Score


class R2(R2Score):
    """Share of the targets' variance that is explained, the mean over targets; not a number for fewer than two images."""

    def compute(self) -> Tensor:
        return super().compute() if self.total > 1 else self.residual.mean() * float("nan")


def regression_metrics() -> MetricCollection:
    """`mae`, the mean absolute error, and `rmse`, the root of the mean squared one, are in the targets' units, over all targets alike.

    `r2` is 1 for a perfect prediction and 0 for the mean, whatever the units.
    """
    metrics = {"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False), "r2": R2()}
    return MetricCollection(metrics, compute_groups=False)  # type: ignore[arg-type]
