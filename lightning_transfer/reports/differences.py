"""Pictures of matrices that say where students differ from their teacher; matplotlib takes half a second to import."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from lightning_transfer.files import write_picture
from lightning_transfer.metrics.correlation import sizes
from lightning_transfer.reports.pictures import shortened

_NAMED = 25  # classes up to which their names are readable
_COLUMNS = 4


def draw_differences(
    matrices: Sequence[Tensor], titles: Sequence[str], class_names: Sequence[str], headline: str, path: Path
) -> None:
    """Draw one panel a student, with its size in numbers below; all have one scale of colours, which ends at the largest entry of all.

    The colours, ColorBrewer's, can be told apart by the colour-blind.

    Args:
        matrices: (K, K), one a student; where none has an entry below 0 the scale begins there.
        titles: one a student.
        class_names: K.
        headline: what the entries are.
        path: of the PNG.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(_COLUMNS, len(matrices))
    rows = -(-len(matrices) // columns)
    limit = max(float(matrix.abs().max()) for matrix in matrices) or 1.0
    signed = any(bool((matrix < 0).any()) for matrix in matrices)
    scale = {"cmap": "PuOr", "vmin": -limit, "vmax": limit} if signed else {"cmap": "Purples", "vmin": 0, "vmax": limit}
    layout = ConstrainedLayoutEngine(compress=True, h_pad=0.1)  # inches: no row's numbers touch the next one's titles
    figure = Figure(figsize=(3.2 * columns + 0.9, 3.7 * rows + 0.6), layout=layout)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(matrices) :]:
        axes.axis("off")
    for i, (axes, matrix, title) in enumerate(zip(grid.flat, matrices, titles, strict=False)):
        shown = axes.imshow(matrix.numpy(), **scale)
        axes.set_title(shortened(title, 36), fontsize=9)
        found = sizes(matrix)
        below = "mean |·| {mean:.3f}   max |·| {max:.3f}\nFrobenius {frobenius:.3f}".format(**found)
        axes.set_xlabel(below, fontsize=8)
        names = [shortened(name, 14) for name in class_names] if len(class_names) <= _NAMED else []
        axes.set_xticks(range(len(names)), names, fontsize=6, rotation=0 if max(map(len, names), default=0) < 3 else 90)
        axes.set_yticks(range(len(names)), names if i % columns == 0 else [""] * len(names), fontsize=6)
    figure.colorbar(shown, ax=grid, shrink=0.8).ax.tick_params(labelsize=8)
    figure.suptitle(headline, fontsize=9)
    write_picture(figure, path)
