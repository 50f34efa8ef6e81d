"""The report's pictures; matplotlib takes half a second to import, and needs no window system."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from lightning_transfer.files import write_picture
from lightning_transfer.metrics.weighted import BINS, bin_of

_NUMBERED = 25  # classes up to which the counts are written into the cells
_NAMED = 120  # and up to which the names of classes are readable
WRONG, RIGHT = "#c44e52", "#4c72b0"


def draw_confusion(counts: Tensor, class_names: Sequence[str], path: Path) -> None:
    """Draw how the images of each true class (row) were classified, as shares of the row.

    Args:
        counts: (K, K).
        class_names: K.
        path: of the PNG.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    classes = len(class_names)
    images = counts.sum(dim=1, keepdim=True)
    share = torch.where(images > 0, counts / images.clamp(min=1), torch.nan)
    inch = min(16.0, 2.6 + classes * (0.42 if classes <= _NUMBERED else 0.15))
    figure = Figure(figsize=(inch + 0.8, inch), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(share.numpy(), cmap=colormaps["Blues"].with_extremes(bad="0.85"), vmin=0, vmax=1)
    if classes <= _NAMED:
        size = 9 if classes <= _NUMBERED else max(4.0, min(7.0, 72 * inch * 0.7 / classes))
        names = [shortened(name, 22) for name in class_names]
        turned = 90 if classes > _NUMBERED else 45 if max(map(len, names)) > 3 else 0
        axes.set_xticks(range(classes), names, rotation=turned, fontsize=size)
        axes.set_yticks(range(classes), names, fontsize=size)
        if turned == 45:
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
    if classes <= _NUMBERED:
        for i, j in (counts > 0).nonzero().tolist():
            colour = "white" if share[i, j] > 0.5 else "black"
            axes.text(j, i, str(int(counts[i, j])), ha="center", va="center", fontsize=8, color=colour)
    number = "" if classes <= _NAMED else " (number of the class, as per_class.csv lists them)"
    axes.set(xlabel=f"predicted{number}", ylabel=f"true{number}")
    figure.colorbar(shown, ax=axes, label="share of the true class", shrink=0.7)
    empty = int((images == 0).sum())
    if empty:
        axes.set_title(f"grey: {empty} of {classes} classes without images", fontsize=9)
    write_picture(figure, path)


def draw_reliability(panels: Sequence[tuple[str, Tensor, Tensor]], path: Path) -> None:
    """Draw how often what was predicted with a probability is right, and how many predictions there are of each.

    Args:
        panels: title, probability (M,) and correctness (M,) of each column.
        path: of the PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(panels) + 0.4, 5), layout="constrained")
    axes = figure.subplots(2, len(panels), squeeze=False, sharex=True, height_ratios=[3, 1])
    edges = torch.linspace(0, 1, BINS + 1)
    for column, (title, probability, right) in enumerate(panels):
        upper, lower = axes[:, column]
        index = bin_of(probability).clamp(max=BINS - 1)  # a probability of 1 is shown with those just below
        count = torch.bincount(index, minlength=BINS)
        filled = count > 0
        rate, mean = (
            (torch.bincount(index, value.double(), BINS)[filled] / count[filled]).numpy()
            for value in (right, probability)
        )
        left, width = edges[:-1][filled].numpy(), 1 / BINS
        upper.bar(left, rate, width, align="edge", color=RIGHT, edgecolor="white", label="right")
        upper.bar(
            left, mean - rate, width, rate, align="edge", color=WRONG, alpha=0.35, edgecolor=WRONG, label="gap to the probability"
        )  # fmt: skip
        upper.plot([0, 1], [0, 1], color="0.4", linestyle="--", linewidth=1)
        upper.set(title=title, xlim=(0, 1), ylim=(0, 1))
        lower.bar(left, count[filled].numpy(), width, align="edge", color="0.6", edgecolor="white")
        lower.set(xlabel="predicted probability")
    axes[0, 0].set_ylabel("share that is right")
    axes[0, 0].legend(loc="upper left", fontsize=8)
    axes[1, 0].set_ylabel("predictions")
    write_picture(figure, path)


def draw_scatter(panels: Sequence[tuple[str, Tensor, Tensor]], path: Path) -> None:
    """Draw predicted over true values, one panel a target.

    Args:
        panels: title, true values (N,) and predicted ones (N,) of each, at least one.
        path: of the PNG.
    """
    from matplotlib.figure import Figure

    columns = min(len(panels), 4)
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 4.2 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.axis("off")
    for axes, (title, true, predicted) in zip(grid.flat, panels, strict=False):
        both = torch.cat([true, predicted])
        low, high = both.min().item(), both.max().item()
        margin = 0.04 * (high - low) or 1.0
        limits = (low - margin, high + margin)
        axes.plot(limits, limits, color="0.4", linestyle="--", linewidth=1)
        faint = max(0.15, min(0.8, 100 / len(true)))  # so that dense places show
        axes.scatter(true.numpy(), predicted.numpy(), s=14, alpha=faint, color=RIGHT, linewidths=0)
        axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel="true", ylabel="predicted")
        axes.set_title(title, fontsize=9)
    write_picture(figure, path)


class Wrong(NamedTuple):
    """An image on the sheet of errors: its name, what is true and what was said instead."""

    image: str
    true: str
    said: str


def draw_worst(
    rows: Sequence[Wrong], legend: tuple[str, str], image_of: Callable[[str], Tensor], path: Path, columns: int = 5
) -> None:
    """Lay wrong images out on a sheet, each with what is true and what was said.

    Args:
        rows: at least one.
        legend: what blue and red mean.
        image_of: gives the pixels of a name, uint8 (3, H, W).
        path: of the PNG.
        columns: images in a row.
    """
    from matplotlib.figure import Figure

    columns = min(columns, len(rows))
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(max(3.0, 2 * columns), 2.5 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, row in zip(grid.flat, rows, strict=False):
        axes.imshow(drawable(image_of(row.image), 192), interpolation="nearest")
        axes.set_title(shortened(row.true, 26), fontsize=8, color=RIGHT, pad=14)
        axes.annotate(
            row.said, (0.5, 1), (0, 3), "axes fraction", "offset points", ha="center", fontsize=8, color=WRONG
        )
    figure.suptitle((" " if columns > 2 else "\n").join(legend), fontsize=8, color="0.3")
    write_picture(figure, path)


def drawable(pixels: Tensor, longest: int = 128) -> Any:
    """An image (3, H, W) as matplotlib wants it, (H, W, 3), and smaller where its longer side has more pixels than that."""
    factor = longest / max(pixels.shape[-2:])
    if factor < 1:
        pixels = resize(pixels, [max(1, round(side * factor)) for side in pixels.shape[-2:]], antialias=True)
    return pixels.permute(1, 2, 0).numpy()


def shortened(name: str, length: int) -> str:
    """Take letters out of the middle of a name that is longer: classes often differ at either end.

    Example:
        >>> shortened("transport and its many vehicles", 12)
        'transp…icles'
    """
    return name if len(name) <= length else f"{name[: length // 2]}…{name[-(length - length // 2 - 1) :]}"
