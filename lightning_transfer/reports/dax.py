"""The picture of which images are said to be of one concept."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lightning_transfer.files import write_picture
from lightning_transfer.reports.pictures import RIGHT, WRONG, shortened, shrunk


class Task(NamedTuple):
    """A concept with the number of its example's image, and of each candidate the number, the cosine, whether it was marked, and whether it is one."""

    name: str
    example: int
    numbers: list[int]
    cosines: list[float]
    marked: list[bool]
    same: list[bool]


def draw_dax(tasks: Sequence[Task], image_of: Callable[[int], Tensor], path: Path, candidates: int = 12) -> None:
    """Lay tasks out in rows: the example at the left, candidates at the right; what was marked has a frame, blue where that is right.

    Args:
        tasks: at least one.
        image_of: gives the pixels of a number, uint8 (3, H, W).
        path: of the PNG.
        candidates: of a task that are drawn, at most; those that are of the concept first of all.
    """
    from matplotlib.figure import Figure

    columns = min(candidates, max(len(task.numbers) for task in tasks))
    figure = Figure(figsize=(2.9 + 1.0 * columns, 0.75 + 1.2 * len(tasks)), layout="constrained")
    grid = figure.subplots(len(tasks), columns + 3, squeeze=False, width_ratios=[1.4, 1, 0.12, *[1] * columns])
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for line, task in zip(grid, tasks, strict=True):
        words = textwrap.fill(shortened(task.name, 57), 19)
        line[0].text(0.98, 0.5, words, ha="right", va="center", fontsize=9, transform=line[0].transAxes)
        line[1].imshow(_pixels(image_of, task.example), interpolation="nearest")
        line[2].axvline(0.5, color="0.8", linewidth=1)
        line[2].set_xlim(0, 1)
        for axes, i in zip(line[3:], _shown(task, columns), strict=False):
            axes.imshow(_pixels(image_of, task.numbers[i]), interpolation="nearest")
            marked, same = task.marked[i], task.same[i]
            verdict = ("wrong" if marked else "") if not same else "right" if marked else "missed"
            colour = RIGHT if same and marked else WRONG
            if marked or same:
                axes.spines[:].set(visible=True, color=colour, linewidth=3, linestyle="-" if marked else ":")
            axes.set_title(
                f"{verdict} {task.cosines[i]:.2f}".strip(), fontsize=7, color=colour if verdict else "0.5", pad=4
            )
    figure.suptitle(
        "left: this is one; right: which of these are? Framed: said to be, blue where that is right; dotted: missed; with cosines",
        fontsize=8, color="0.3",
    )  # fmt: skip
    write_picture(figure, path)


def _shown(task: Task, count: int) -> list[int]:
    """Which candidates are drawn, in their order: what is of the concept or was marked before the others."""
    ranked = sorted(range(len(task.numbers)), key=lambda i: (not task.same[i], not task.marked[i], -task.cosines[i]))
    return sorted(ranked[:count])


def _pixels(image_of: Callable[[int], Tensor], number: int) -> "Tensor":
    return shrunk(image_of(number), 128).permute(1, 2, 0).numpy()  # type: ignore[return-value]
