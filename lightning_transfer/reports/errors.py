"""Rows of a regressor's report: how far its numbers are off."""

from typing import Any

from torch import Tensor

from lightning_transfer.contracts import Scored
from lightning_transfer.metrics.bootstrap import Interval

Row = dict[str, Any]
WORST_COLUMNS = ("image", "target", "true", "predicted", "error", "standardised")


def per_target(scored: Scored, names: list[str], headline: dict[str, Interval]) -> list[Row]:
    """Error and explained variance of each target; `bias` is the mean of predicted less true.

    Args:
        scored: a split.
        names: K, of the targets.
        headline: its figures.
    """
    bias = (scored.logits - scored.target).double().mean(dim=0).tolist()
    rows: list[Row] = []
    for k, name in enumerate(names):
        prefix = f"{name}/" if len(names) > 1 else ""
        figures = {metric: _known(headline[f"{prefix}{metric}"].value) for metric in ("mae", "rmse", "r2")}
        rows.append({"target": name, "n": len(scored.target), **figures, "bias": bias[k]})
    return rows


def worst_errors(scored: Scored, names: list[str], deviation: Tensor) -> list[Row]:
    """All predictions, the largest error first, in units of each target's deviation so that targets can be compared.

    Args:
        scored: a split.
        names: K, of the targets.
        deviation: of each target over the training images, (K,).
    """
    error = scored.logits.double() - scored.target.double()
    standardised = error.abs() / deviation.double()
    return [
        {
            "image": scored.name[i],
            "target": names[k],
            "true": _digits(scored.target[i, k]),
            "predicted": _digits(scored.logits[i, k]),
            "error": _digits(error[i, k]),
            "standardised": _digits(standardised[i, k]),
        }
        for i, k in (divmod(place, len(names)) for place in standardised.flatten().argsort(descending=True).tolist())
    ]


def _digits(number: Tensor) -> float:
    return float(f"{number.item():.7g}")  # what a float holds


def _known(figure: float) -> float | None:
    return figure if figure == figure else None
