"""Tables and curves of what merged models reach."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lightning_transfer.files import write_picture


def print_table(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Print one line a row under the first row's keys, figures with four decimals.

    Args:
        rows: at least one.
        title: stands above.
    """
    table = Table(title=title)
    for heading in rows[0]:
        table.add_column(heading)
    for row in rows:
        table.add_row(*(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)


def by_set(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Turn figures named `SET/METRIC` into one row a set, in the order of their first figures.

    Example:
        >>> by_set({"test/loss": 0.5, "fog_3/loss": 1, "test/f1": 0.75})
        [{'set': 'test', 'loss': 0.5, 'f1': 0.75}, {'set': 'fog_3', 'loss': 1.0}]
    """
    rows: dict[str, dict[str, Any]] = {}
    for key, value in figures.items():
        name, _, metric = key.rpartition("/")
        rows.setdefault(name, {"set": name})[metric] = float(value)
    return list(rows.values())


def draw_curves(rows: Sequence[Mapping[str, float]], x: str, marked: float, path: Path) -> None:
    """Draw every other key over the one named `x`, as a PNG.

    Args:
        rows: points, in the order of `x`.
        x: key of the abscissa.
        marked: abscissa of a vertical line.
        path: where to.
    """
    from matplotlib.figure import Figure  # takes half a second, and needs no window system

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for key in rows[0]:
        if key != x:
            axes.plot([row[x] for row in rows], [row[key] for row in rows], marker="o", markersize=3, label=key)
    axes.axvline(marked, color="grey", linestyle=":", label=f"{x} = {marked:g}, best on validation")
    axes.set_xlabel(f"{x} (0 is the source, 1 the tuned model)")
    axes.grid(alpha=0.3)
    axes.legend()
    write_picture(figure, path)
