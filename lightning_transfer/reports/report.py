"""What every report has: figures of each set with their intervals, and details of one set."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightning_transfer.contracts import Scored
from lightning_transfer.data import ImageData
from lightning_transfer.files import whole, write_csv
from lightning_transfer.metrics.bootstrap import Interval

Row = dict[str, Any]
_LINES = 10  # of the tables that are printed
_DETAILS = ("per_class.csv", "per_target.csv", "confusion.csv", "confusion.png", "reliability.png", "scatter.png",
            "worst.csv", "worst.png")  # fmt: skip


class Report(ABC):
    """A checkpoint's figures on each set; the details are of the test split, or of the first named set where there is none.

    Attributes:
        shown: metrics of the printed table; the files have all.
        digits: of the printed figures, as a format.
        rank_by: column by which the printed rows are sorted, the lowest first.
        remark: what the numbers do not say.
        rows: one a class or target.

    Args:
        scored: each set as the model sees it.
        data: where the sets are from.
        resamples: of the bootstrap.
        level: of the intervals, in (0, 1).
        seed: of the bootstrap.
    """

    shown: ClassVar[tuple[str, ...]]
    digits: ClassVar[str]
    rank_by: ClassVar[str]
    remark: str
    rows: list[Row]

    def __init__(self, scored: Mapping[str, Scored], data: ImageData, resamples: int, level: float, seed: int) -> None:
        self.scored, self.data = scored, data
        self.resamples, self.level, self.seed = resamples, level, seed
        self.headlines = {name: self.headline(split) for name, split in scored.items()}
        self.subject = next(name for name in scored if name != "val")
        self.details = scored[self.subject]

    @abstractmethod
    def headline(self, split: Scored) -> dict[str, Interval]:
        """Metrics of a set, with their intervals."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """What `report.json` has beside what all reports say."""

    @abstractmethod
    def write_details(self, folder: Path, sheet: int) -> None:
        """Write tables and pictures of one set.

        Args:
            folder: where to.
            sheet: how many of the worst images `worst.png` shows.
        """

    def write(self, folder: Path, ckpt_path: str, sheet: int) -> None:
        """Write all files into a folder, and remove what an earlier report has left there."""
        with whole(folder / "report.json") as partial:
            summary = {
                "checkpoint": str(ckpt_path),
                "data": type(self.data).__name__,
                "details_of": self.subject,
                "remark": self.remark,
                "bootstrap": {"resamples": self.resamples, "level": self.level, "seed": self.seed},
                "sets": {name: _plain(self.scored[name], found) for name, found in self.headlines.items()},
            }
            partial.write_text(json.dumps(summary | self.summary(), indent=1), encoding="utf-8")
        lines = [
            {"set": name, "images": len(self.scored[name].target), "metric": metric, **interval._asdict()}
            for name, found in self.headlines.items()
            for metric, interval in found.items()
        ]
        write_csv(lines, folder / "headline.csv")
        for name in _DETAILS:
            (folder / name).unlink(missing_ok=True)
        self.write_details(folder, sheet)

    def show(self, title: str) -> None:
        """Print the figures, the classes or targets with the lowest of theirs, and the remark."""
        shown = [metric for metric in self.shown if any(metric in found for found in self.headlines.values())]
        compact: dict[str, Any] = {
            "box": SIMPLE_HEAD,
            "pad_edge": False,
            "collapse_padding": True,
        }  # fits into 80 columns
        table = Table(title=f"{title}, with {self.level:.0%} intervals", **compact)
        for heading in ("set", *(metric.replace("_", "\n") for metric in shown)):
            table.add_column(heading)
        for name, found in self.headlines.items():
            table.add_row(name, *(self._figure(found[metric]) for metric in shown))
        Console().print(table)
        there = sorted((row for row in self.rows if row[self.rank_by] is not None), key=lambda row: row[self.rank_by])
        kind, by = "classes" if "class" in self.rows[0] else "targets", self.rank_by.upper()
        hardest = Table(title=f"{kind} with the lowest {by}" if len(there) > _LINES else f"{kind} by {by}", **compact)
        for heading in self.rows[0]:
            hardest.add_column(heading.replace("_", " "))
        for row in there[:_LINES]:
            hardest.add_row(*(self._cell(value) for value in row.values()))
        Console().print(hardest)
        print(self.remark)

    def image(self, name: str) -> Tensor:
        """Pixels of an image that the details are of, uint8 (3, H, W)."""
        source = (self.data if self.subject == "test" else self.data.test_sets[self.subject]).splits()["test"]
        return source.image(list(source.names).index(name))

    def _figure(self, interval: Interval) -> str:
        value, low, high = (format(number, self.digits) for number in interval)
        return f"{value}\n{low}{' to ' if interval.low < 0 else '-'}{high}"

    def _cell(self, value: Any) -> str:
        return "" if value is None else format(value, self.digits) if isinstance(value, float) else str(value)


def _plain(scored: Scored, found: Mapping[str, Interval]) -> dict[str, Any]:
    sizes = {"images": len(scored.target), "groups": None if scored.group is None else len(set(scored.group))}
    # JSON knows no NaN
    figures = {
        name: {key: value if value == value else None for key, value in interval._asdict().items()}
        for name, interval in found.items()
    }
    return sizes | figures
