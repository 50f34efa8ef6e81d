"""The report of a regressor."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lightning_transfer.contracts import Scored
from lightning_transfer.data import ImageData
from lightning_transfer.files import write_csv
from lightning_transfer.metrics.bootstrap import Interval, bootstrap
from lightning_transfer.metrics.weighted_errors import weighted_errors
from lightning_transfer.reports.errors import WORST_COLUMNS, per_target, worst_errors
from lightning_transfer.reports.pictures import Wrong, draw_scatter, draw_worst
from lightning_transfer.reports.report import Report

_LEGEND = ("blue: the true value;", "red: the predicted one")
_PANELS = 16  # targets up to which all are drawn


class NumberReport(Report):
    """Errors and explained variance of each target, predicted over true values, the largest errors.

    Args:
        scored: each set as the model sees it.
        data: where the sets are from.
        deviation: of each target over the training images, (K,): the unit in which errors of several targets are compared.
        resamples: of the bootstrap.
        level: of the intervals, in (0, 1).
        seed: of the bootstrap.
    """

    shown = ("mae", "rmse", "r2")
    digits = ".4g"
    rank_by = "r2"

    def __init__(
        self,
        scored: Mapping[str, Scored],
        data: ImageData,
        deviation: Tensor,
        resamples: int,
        level: float,
        seed: int,
    ) -> None:
        super().__init__(scored, data, resamples, level, seed)
        self.rows = per_target(self.details, data.class_names, self.headlines[self.subject])
        self.worst = worst_errors(self.details, data.class_names, deviation)
        self.remark = "the largest error on {}: {image}, {target} {true:.4g} predicted as {predicted:.4g}".format(
            self.subject, **self.worst[0]
        )

    def headline(self, split: Scored) -> dict[str, Interval]:
        measure = weighted_errors(split.logits, split.target, self.data.class_names)
        return bootstrap(measure, len(split.target), split.group, self.resamples, self.level, self.seed)

    def summary(self) -> dict[str, Any]:
        return {"targets": self.data.class_names, "per_target": self.rows}

    def write_details(self, folder: Path, sheet: int) -> None:
        write_csv(self.rows, folder / "per_target.csv")
        write_csv(self.worst, folder / "worst.csv", WORST_COLUMNS)
        hardest = sorted(range(len(self.rows)), key=lambda k: self.rows[k]["r2"] or 0.0)[:_PANELS]
        panels = [(self._title(k), self.details.target[:, k], self.details.logits[:, k]) for k in sorted(hardest)]
        draw_scatter(panels, folder / "scatter.png")
        draw_worst([self._caption(row) for row in self.worst[:sheet]], _LEGEND, self.image, folder / "worst.png")

    def _title(self, k: int) -> str:
        row = self.rows[k]
        explained = "" if row["r2"] is None else f", R² {row['r2']:.3f}"
        return f"{row['target']} on {self.subject}: MAE {row['mae']:.4g}{explained}"

    def _caption(self, row: dict[str, Any]) -> Wrong:
        name = f"{row['target']} " if len(self.rows) > 1 else ""
        return Wrong(row["image"], f"{name}{row['true']:.4g}", f"{row['predicted']:.4g}")
