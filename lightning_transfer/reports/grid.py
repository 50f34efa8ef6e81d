"""A grid of figures; matplotlib takes half a second to import, and needs no window system."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from lightning_transfer.files import write_picture
from lightning_transfer.reports.pictures import shortened


def draw_grid(
    values: Tensor, rows: Sequence[str], columns: Sequence[str], path: Path, label: str = "accuracy on validation"
) -> None:
    """Draw accuracies as a heat map, with the figures in its cells.

    Args:
        values: (R, C) in [0, 1].
        rows: R names, at the left.
        columns: C names, below.
        path: of the PNG.
        label: what the colours stand for.
    """
    from matplotlib.figure import Figure

    left = 0.075 * max(len(shortened(row, 44)) for row in rows)
    size = (left + 1.6 + 0.52 * len(columns), 2.0 + 0.24 * len(rows))
    figure = Figure(figsize=(max(4.0, size[0]), size[1]), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(values.numpy(), cmap="viridis", aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(columns)), [shortened(name, 26) for name in columns], rotation=45, fontsize=7)
    for tick in axes.get_xticklabels():
        tick.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), [shortened(name, 44) for name in rows], fontsize=7)
    middle = (values.max() + values.min()) / 2
    for i, row in enumerate(values.tolist()):
        for j, value in enumerate(row):
            colour = "white" if value < middle else "black"
            axes.text(j, i, f"{100 * value:.1f}", ha="center", va="center", fontsize=6, color=colour)
    figure.colorbar(drawn, ax=axes, label=label)
    write_picture(figure, path)
