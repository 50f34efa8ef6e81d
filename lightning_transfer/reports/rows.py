"""What pictures in rows have in common: places without ticks, a name at the left, a line between what is shown and what is asked."""

import textwrap
from collections.abc import Sequence
from typing import Any

from lightning_transfer.reports.pictures import shortened


def empty_rows(figure: Any, count: int, widths: Sequence[float]) -> Any:
    """Lay out places (count, columns) for images and words, without ticks and frames.

    Args:
        figure: matplotlib's.
        count: of rows.
        widths: of the columns, relative to one another.
    """
    grid = figure.subplots(count, len(widths), squeeze=False, width_ratios=widths)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return grid


def write_name(axes: Any, name: str) -> None:
    """Write a name into a place, in three lines at most."""
    words = textwrap.fill(shortened(name.replace("/", " / "), 57), 19)  # only at spaces are lines broken
    axes.text(0.98, 0.5, words, ha="right", va="center", fontsize=9, transform=axes.transAxes)


def draw_divider(axes: Any) -> None:
    """Draw a line down the middle of a place."""
    axes.axvline(0.5, color="0.8", linewidth=1)
    axes.set_xlim(0, 1)
