"""The picture of what captions find."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_transfer.files import write_picture
from lightning_transfer.reports.pictures import RIGHT, WRONG, drawable
from lightning_transfer.reports.rows import empty_rows


class Found(NamedTuple):
    """What a caption found: the nearest images' numbers, whether each is its own, and its cosines."""

    caption: str
    images: list[int]
    right: list[bool]
    cosines: list[float]


def nearest_images(image: Tensor, text: Tensor, group: Tensor, captions: Sequence[str], count: int) -> list[Found]:
    """For each different caption the nearest images.

    Args:
        image: (N, D) of unit length.
        text: (N, D) likewise.
        group: (N,), equal for equal captions.
        captions: N.
        count: images a caption.
    """
    found = []
    first = {number: i for i, number in reversed(list(enumerate(group.tolist())))}
    for i in sorted(first.values()):
        cosines, order = (image @ text[i]).topk(min(count, len(image)))
        found.append(Found(captions[i], order.tolist(), (group[order] == group[i]).tolist(), cosines.tolist()))
    return found


def draw_retrieval(rows: Sequence[Found], image_of: Callable[[int], Tensor], path: Path) -> None:
    """Lay captions out in rows, each with the images it found, nearest first; the right ones in blue, the others in red.

    Args:
        rows: at least one.
        image_of: gives the pixels of a number, uint8 (3, H, W).
        path: of the PNG.
    """
    from matplotlib.figure import Figure

    columns = max(len(row.images) for row in rows)
    figure = Figure(figsize=(2.4 + 1.5 * columns, 0.5 + 1.65 * len(rows)), layout="constrained")
    grid = empty_rows(figure, len(rows), [1.6, *[1] * columns])
    for line, row in zip(grid, rows, strict=True):
        words = textwrap.shorten(row.caption, 110, placeholder=" …")
        line[0].text(0.02, 0.5, textwrap.fill(words, 22), va="center", fontsize=9, transform=line[0].transAxes)
        for axes, number, right, cosine in zip(line[1:], row.images, row.right, row.cosines, strict=False):
            axes.imshow(drawable(image_of(number)), interpolation="nearest")
            colour = RIGHT if right else WRONG
            axes.spines[:].set(visible=True, color=colour, linewidth=3)
            axes.set_title(f"{'right' if right else 'wrong'}, {cosine:.2f}", fontsize=8, color=colour)
    figure.suptitle("each caption's nearest images, with their cosines", fontsize=9, color="0.3")
    write_picture(figure, path)


def some_of(rows: Sequence[Found], count: int) -> list[Found]:
    """Rows spread evenly over all of them, hits and misses as often as they occur."""
    return [rows[int(i)] for i in torch.linspace(0, len(rows) - 1, min(count, len(rows))).round()]
