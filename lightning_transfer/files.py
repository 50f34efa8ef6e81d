"""Files that are there whole or not at all."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Within this context a hidden file beside `path` is written; it is renamed once done, so that nobody meets half a file.

    Args:
        path: where the file is to be; folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_picture(figure: Any, path: Path) -> None:
    """Write a figure of matplotlib as PNG."""
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=150)


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path, columns: Sequence[str] = ()) -> None:
    """Write one line a row under the first row's keys.

    Args:
        rows: at least one, unless `columns` are given.
        path: where to.
        columns: the keys, where there may be no row.
    """
    with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(columns or rows[0]))
        writer.writeheader()
        writer.writerows(rows)
