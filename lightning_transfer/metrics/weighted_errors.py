"""The figures of `regression_metrics` for many weightings of the same images at once, as resampling needs them."""

from collections.abc import Callable, Sequence

from torch import Tensor

from lightning_transfer.metrics.regression import explained


def weighted_errors(value: Tensor, target: Tensor, names: Sequence[str]) -> Callable[[Tensor], dict[str, Tensor]]:
    """Prepare a function from weights (R, N) float64, such as how often an image was drawn, to metrics (R,) each.

    With weights of one the figures are those of `regression_metrics`, with whole numbers those of the images repeated; where there are
    several targets, each has its own beside them: `angle/mae`. `r2` is not a number where a target is the same for all images.

    Args:
        value: predictions, (N, K).
        target: (N, K).
        names: K, of the targets.
    """
    error = (value - target).double()
    centred = target.double() - target.double().mean(dim=0)

    def measure(weight: Tensor) -> dict[str, Tensor]:
        total = weight.sum(dim=1, keepdim=True)
        absolute, squared, power, mean = (weight @ of / total for of in (error.abs(), error**2, centred**2, centred))
        share = explained(squared, power - mean**2, power)
        found = {"mae": absolute.mean(dim=1), "rmse": squared.mean(dim=1).sqrt(), "r2": share.nanmean(dim=1)}
        if len(names) > 1:
            for k, name in enumerate(names):
                found |= {
                    f"{name}/mae": absolute[:, k],
                    f"{name}/rmse": squared[:, k].sqrt(),
                    f"{name}/r2": share[:, k],
                }
        return found

    return measure
