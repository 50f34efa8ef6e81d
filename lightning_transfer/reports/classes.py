"""The report of a classifier."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_transfer.calibration import fit_temperature
from lightning_transfer.contracts import Scored
from lightning_transfer.data import ImageData
from lightning_transfer.files import write_csv
from lightning_transfer.metrics.bootstrap import Interval
from lightning_transfer.reports.pictures import Wrong, draw_confusion, draw_reliability, draw_worst, shortened
from lightning_transfer.reports.report import Report
from lightning_transfer.reports.tables import (
    WORST_COLUMNS,
    confusion,
    headline,
    mean_nll,
    per_class,
    reliability,
    worst,
)

_LEGEND = ("blue: the true class;", "red: what it was taken for, and how surely")


class ClassReport(Report):
    """Figures before and after temperature scaling, classes and their confusions, the surest errors."""

    shown = ("accuracy", "accuracy_macro", "f1", "map", "ece", "ece_scaled")
    digits = ".3f"
    rank_by = "f1"

    def __init__(self, scored: Mapping[str, Scored], data: ImageData, resamples: int, level: float, seed: int) -> None:
        self.temperature, self.remark = _temperature(scored.get("val"))
        super().__init__(scored, data, resamples, level, seed)
        self.rows = per_class(self.details, data.class_names)
        self.wrong = worst(self.details, data.class_names)
        if not self.wrong:
            self.remark += f"\nno wrong decision on {self.subject}: there is no worst.png"

    def headline(self, split: Scored) -> dict[str, Interval]:
        return headline(split, self.temperature, self.resamples, self.level, self.seed)

    def summary(self) -> dict[str, Any]:
        return {"classes": self.data.class_names, "temperature": self.temperature, "per_class": self.rows}

    def write_details(self, folder: Path, sheet: int) -> None:
        write_csv(self.rows, folder / "per_class.csv")
        write_csv(self.wrong, folder / "worst.csv", WORST_COLUMNS)
        if self.details.target.ndim == 1:
            self._write_confusion(folder)
        figures = self.headlines[self.subject]
        panels = [(f"{self.subject}: ECE {figures['ece'].value:.3f}", *reliability(self.details))]
        if self.temperature is not None:
            title = f"at temperature {self.temperature:.2f}: ECE {figures['ece_scaled'].value:.3f}"
            panels.append((title, *reliability(self.details, self.temperature)))
        draw_reliability(panels, folder / "reliability.png")
        if self.wrong:
            draw_worst([_caption(row) for row in self.wrong[:sheet]], _LEGEND, self.image, folder / "worst.png")

    def _write_confusion(self, folder: Path) -> None:
        counts, names = confusion(self.details), self.data.class_names
        rows = zip(names, counts.tolist(), strict=True)
        table = [{"true \\ predicted": name, **dict(zip(names, row, strict=True))} for name, row in rows]
        write_csv(table, folder / "confusion.csv")
        draw_confusion(counts, names, folder / "confusion.png")


def _temperature(val: Scored | None) -> tuple[float | None, str]:
    if val is None:
        return None, "no temperature: the data has no val split to fit it on; give one, or a val_fraction above 0"
    try:
        found = fit_temperature(val.logits, val.target)
    except ValueError as error:
        return None, f"no temperature: {error}"
    before, after = mean_nll(val, 1), mean_nll(val, found)
    return found, f"temperature {found:.3f}: the val nll goes from {before:.4f} to {after:.4f}"


def _caption(row: dict[str, Any]) -> Wrong:
    return Wrong(row["image"], row["true"], f"{shortened(row['predicted'], 22)} {row['probability']:.2f}")
