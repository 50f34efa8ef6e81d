"""The picture of which images are said to be of one concept."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lightning_transfer.files import write_picture
from lightning_transfer.reports.pictures import RIGHT, WRONG, drawable
from lightning_transfer.reports.rows import draw_divider, empty_rows, write_name


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
    grid = empty_rows(figure, len(tasks), [1.4, 1, 0.12, *[1] * columns])
    for line, task in zip(grid, tasks, strict=True):
        write_name(line[0], task.name)
        line[1].imshow(drawable(image_of(task.example)), interpolation="nearest")
        draw_divider(line[2])
        for axes, i in zip(line[3:], _shown(task, columns), strict=False):
            axes.imshow(drawable(image_of(task.numbers[i])), interpolation="nearest")
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
