"""`lightning-transfer report`: what a checkpoint gets right and wrong, how certain the figures are, and how certain it is itself."""

import json
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lightning_transfer.calibration import fit_temperature
from lightning_transfer.contracts import Scored
from lightning_transfer.data import ImageData
from lightning_transfer.data.named_sets import check_against_checkpoint
from lightning_transfer.devices import find_device
from lightning_transfer.files import whole, write_csv
from lightning_transfer.metrics.bootstrap import Interval
from lightning_transfer.modules import TransferModule
from lightning_transfer.reports.pictures import draw_confusion, draw_reliability, draw_worst
from lightning_transfer.reports.score import score_all
from lightning_transfer.reports.tables import (
    WORST_COLUMNS,
    confusion,
    headline,
    mean_nll,
    per_class,
    reliability,
    worst,
)
from lightning_transfer.runs import run_folder

_SHOWN = ("accuracy", "accuracy_macro", "f1", "map", "ece", "ece_scaled")  # the files have all
_LINES = 10  # of the tables that are printed

Headlines = dict[str, dict[str, Interval]]


def report(
    ckpt_path: str,
    data: ImageData | None = None,
    test_sets: dict[str, ImageData] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    sheet: int = 25,
    device: str = "auto",
    out: str | None = None,
) -> Path:
    """Run a checkpoint once over validation, test and named sets, and write what can be said of it into a folder.

    `headline.csv` has each metric with a bootstrap interval, before and after temperature scaling; `per_class.csv`, `confusion.csv`,
    `worst.csv` and the pictures speak of the test split, or of the first named set where there is none; `report.json` has it all.

    Args:
        ckpt_path: checkpoint written by `fit`.
        data: what to measure on; the checkpoint's own if not given.
        test_sets: further data whose test split is measured, by name.
        resamples: of the bootstrap, at least 1.
        level: of the intervals, in (0, 1).
        seed: of the bootstrap.
        sheet: how many wrong images `worst.png` shows, at least 1.
        device: where to compute, such as cuda:0; auto takes a GPU if there is one.
        out: the folder; one beside the checkpoint if not given.

    Returns:
        the folder

    Raises:
        FileNotFoundError, ValueError: for a file that is no checkpoint, other classes, or values out of range.
    """
    for name, value in (("resamples", resamples), ("sheet", sheet)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    place = find_device(device)
    module: TransferModule = TransferModule.load_from_checkpoint(ckpt_path, map_location="cpu")
    data = data or ImageData.load_from_checkpoint(ckpt_path)
    data.add_test_sets(test_sets or {})
    check_against_checkpoint(data, module.class_names)
    scored = score_all(module, data, place)
    temperature, remark = _temperature(scored.get("val"))
    headlines = {name: headline(split, temperature, resamples, level, seed) for name, split in scored.items()}
    subject = next(name for name in scored if name != "val")
    rows, wrong = per_class(scored[subject], data.class_names), worst(scored[subject], data.class_names)
    folder = Path(out) if out else run_folder("report", ckpt_path, "report")
    with whole(folder / "report.json") as partial:
        summary = {
            "checkpoint": str(ckpt_path),
            "data": type(data).__name__,
            "classes": data.class_names,
            "details_of": subject,
            "temperature": temperature,
            "remark": remark,
            "bootstrap": {"resamples": resamples, "level": level, "seed": seed},
            "sets": {name: _plain(scored[name], found) for name, found in headlines.items()},
            "per_class": rows,
        }
        partial.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    write_csv(_lines(scored, headlines), folder / "headline.csv")
    write_csv(rows, folder / "per_class.csv")
    write_csv(wrong, folder / "worst.csv", WORST_COLUMNS)
    _draw(folder, data, scored[subject], subject, wrong[:sheet], temperature, headlines[subject])
    _show(headlines, rows, f"{ckpt_path} on {type(data).__name__}", level)
    print(remark)
    if not wrong:
        print(f"no wrong decision on {subject}: there is no worst.png")
    print(f"written to {folder}")
    return folder


def _temperature(val: Scored | None) -> tuple[float | None, str]:
    if val is None:
        return None, "no temperature: the data has no val split to fit it on; give one, or a val_fraction above 0"
    try:
        found = fit_temperature(val.logits, val.target)
    except ValueError as error:
        return None, f"no temperature: {error}"
    before, after = mean_nll(val, 1), mean_nll(val, found)
    return found, f"temperature {found:.3f}: the val nll goes from {before:.4f} to {after:.4f}"


def _plain(scored: Scored, found: dict[str, Interval]) -> dict[str, Any]:
    sizes = {"images": len(scored.target), "groups": None if scored.group is None else len(set(scored.group))}
    # JSON knows no NaN
    figures = {
        name: {key: value if value == value else None for key, value in interval._asdict().items()}
        for name, interval in found.items()
    }
    return sizes | figures


def _lines(scored: dict[str, Scored], headlines: Headlines) -> list[dict[str, Any]]:
    return [
        {"set": name, "images": len(scored[name].target), "metric": metric, **interval._asdict()}
        for name, found in headlines.items()
        for metric, interval in found.items()
    ]


def _draw(
    folder: Path,
    data: ImageData,
    scored: Scored,
    subject: str,
    wrong: list[dict[str, Any]],
    temperature: float | None,
    figures: dict[str, Interval],
) -> None:
    for name in (
        "confusion.csv",
        "confusion.png",
        "worst.png",
    ):  # of an earlier report, which these may not be part of any more
        (folder / name).unlink(missing_ok=True)
    if scored.target.ndim == 1:
        counts = confusion(scored)
        names = data.class_names
        rows = zip(names, counts.tolist(), strict=True)
        table = [{"true \\ predicted": name, **dict(zip(names, row, strict=True))} for name, row in rows]
        write_csv(table, folder / "confusion.csv")
        draw_confusion(counts, names, folder / "confusion.png")
    panels = [(f"{subject}: ECE {figures['ece'].value:.3f}", *reliability(scored))]
    if temperature is not None:
        title = f"at temperature {temperature:.2f}: ECE {figures['ece_scaled'].value:.3f}"
        panels.append((title, *reliability(scored, temperature)))
    draw_reliability(panels, folder / "reliability.png")
    if wrong:
        source = (data if subject == "test" else data.test_sets[subject]).splits()["test"]
        number = {name: i for i, name in enumerate(source.names)}
        draw_worst(wrong, lambda name: source.image(number[name]), folder / "worst.png")


def _show(headlines: Headlines, rows: list[dict[str, Any]], title: str, level: float) -> None:
    shown = [metric for metric in _SHOWN if any(metric in found for found in headlines.values())]
    compact: dict[str, Any] = {"box": SIMPLE_HEAD, "pad_edge": False, "collapse_padding": True}  # fits into 80 columns
    table = Table(title=f"{title}, with {level:.0%} intervals", **compact)
    for heading in ("set", *(metric.replace("_", "\n") for metric in shown)):
        table.add_column(heading)
    for name, found in headlines.items():
        table.add_row(name, *(f"{found[m].value:.3f}\n{found[m].low:.3f}-{found[m].high:.3f}" for m in shown))
    Console().print(table)
    there = sorted((row for row in rows if row["f1"] is not None), key=lambda row: row["f1"])
    hardest = Table(title="classes with the lowest F1" if len(there) > _LINES else "classes by F1", **compact)
    for heading in rows[0]:
        hardest.add_column(heading.replace("_", " "))
    for row in there[:_LINES]:
        hardest.add_row(*("" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(hardest)
