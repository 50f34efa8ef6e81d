"""What an export to integers costs and brings: beside eager torch, and beside the same runtime with floating-point numbers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightning_transfer.compression.size import stored_bytes
from lightning_transfer.compression.timing import Timing
from lightning_transfer.contracts import Scored
from lightning_transfer.data.sources import ImageSource
from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.exports.integer import IntegerExport
from lightning_transfer.metrics.bootstrap import Interval
from lightning_transfer.reports.compression import compared
from lightning_transfer.tasks import Task

_BATCH = 16
_SHOWN = ("accuracy", "ece", "mae", "rmse", "r2")


def measured(
    form: IntegerExport, model: Deployed, path: Path, image: Tensor, test: ImageSource | None, rounds: int = 15
) -> dict[str, Any]:
    """Bytes, time and both ratios of an export, and metrics on test images where there are any.

    Args:
        form: what wrote the export.
        model: the checkpoint's.
        path: of the export.
        image: to time with, uint8 (3, H, W).
        test: labelled images.
        rounds: in which all ways are timed, in turn.

    Returns:
        `bytes`, `latency` of one image and `throughput` of 16 at once (where the export takes batches) by way: eager torch, the runtime
        with floating-point numbers, the export; `metrics` of checkpoint and export with intervals, and of the change
    """
    one = form.speed(model, path, image.unsqueeze(0), rounds)
    ways = [*one]
    sizes = (stored_bytes(model.model.state_dict())["bytes"], size_of(form.twin), size_of(path))
    figures: dict[str, Any] = {"bytes": dict(zip(ways, sizes, strict=True)), "latency": one}
    if form.dynamic_batch:
        figures["throughput"] = form.speed(model, path, image.expand(_BATCH, -1, -1, -1).contiguous(), rounds)
    if test is not None and len(test):
        figures["images"] = len(test)
        figures["metrics"] = _metrics(form, model, path, test)
    return figures


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


@torch.no_grad()
def _metrics(form: IntegerExport, model: Deployed, path: Path, test: ImageSource) -> dict[str, dict[str, Interval]]:
    """Metrics of the checkpoint, as `predict` finds them, and of the export, of the same images."""
    run = form.load(path)
    images = [test.image(i) for i in range(len(test))]
    found = [_scored([answer(image) for image in images], test, model.task) for answer in _answers(model, run)]
    names = model.class_names
    return compared(found[0], found[1], names, model.task == "regression", resamples=1000, level=0.95, seed=0)


def _answers(model: Deployed, run: Callable[[Tensor], Tensor]) -> Sequence[Callable[[Tensor], Tensor]]:
    return model.reference, lambda image: run(image.unsqueeze(0))[0]


def _scored(answers: Sequence[Tensor], test: ImageSource, task: Task) -> Scored:
    """Answers as logits that give them."""
    found = torch.stack([*answers])
    if task == "classification":
        found = found.clamp(min=1e-12).log()
    elif task == "multi_label":
        found = found.logit(eps=1e-6)
    return Scored(found, test.targets, test.names, test.groups)


def show(figures: Mapping[str, Any], title: str) -> None:
    """Print the three ways side by side."""
    latency: Mapping[str, Timing] = figures["latency"]
    eager, plain, own = latency
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("", *latency):
        table.add_column(heading)
    table.add_row("MB", *(f"{figures['bytes'][way] / 1e6:.2f}" for way in latency))
    table.add_row("ms for one image", *(f"{timing.milliseconds:.2f}" for timing in latency.values()))
    _add_ratios(table, latency, eager, plain)
    if "throughput" in figures:
        many: Mapping[str, Timing] = figures["throughput"]
        table.add_row(f"images/s, {_BATCH} at once", *(f"{1e3 * _BATCH / t.milliseconds:.0f}" for t in many.values()))
        _add_ratios(table, many, eager, plain)
    metrics = figures.get("metrics", {})
    for name in [name for name in _SHOWN if name in metrics.get("dense", {})]:
        before, after = (_interval(metrics[which][name]) for which in ("dense", "compressed"))
        table.add_row(name, before, "", after)
    if metrics:
        table.caption = f"metrics on {figures['images']} test images, with 95% intervals"
    Console().print(table)
    ratios = [latency[own].times_as_fast(latency[way])[0] for way in (eager, plain)]
    print(
        f"one image: {own} is {ratios[0]:.2f} times as fast as {eager}, {ratios[1]:.2f} times as fast as {plain}; what the runtime "
        "brings by itself is in the first alone"
    )


def _add_ratios(table: Table, timings: Mapping[str, Timing], *bases: str) -> None:
    for base in bases:
        cells = [f"{t.times_as_fast(timings[base])[0]:.2f}" for t in timings.values()]
        table.add_row(f"  x {base}", *cells)


def _interval(of: Interval) -> str:
    return f"{of.value:.3f} ({of.low:.3f} to {of.high:.3f})"
