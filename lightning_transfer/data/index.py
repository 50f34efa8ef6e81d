"""Sets with an index.csv, as the scripts of scripts/data write them, and where sets lie."""

import csv
import os
from collections import Counter
from pathlib import Path

LABELS = ("category", "subcategory")


def data_root(root: str | None, folder: str = "") -> Path:
    """Where a set lies: `root`, or its folder below the variable LIGHTNING_TRANSFER_DATA or `./data`."""
    return Path(root) if root else Path(os.environ.get("LIGHTNING_TRANSFER_DATA", "data")) / folder


def read_index(root: Path, label: str, min_per_class: int) -> list[dict[str, str]]:
    """Read the rows of `root/index.csv` whose class is large enough.

    Args:
        root: folder of the set, named like the script that makes it.
        label: column that holds the class, one of `LABELS`.
        min_per_class: classes with fewer rows are left out.

    Raises:
        FileNotFoundError: if the set is not there.
        ValueError: for another label, or if no class is large enough.
    """
    if label not in LABELS:
        raise ValueError(f"data.label={label!r} must be {' or '.join(LABELS)}")
    index = root / "index.csv"
    if not index.is_file():
        raise FileNotFoundError(
            f"{index} does not exist; `python scripts/data/{root.name}.py` makes it, or set data.root"
        )
    with index.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    counts = Counter(row[label] for row in rows)
    kept = [row for row in rows if counts[row[label]] >= min_per_class]
    if not kept:
        raise ValueError(
            f"no {label} has data.min_per_class={min_per_class} images; the largest has {max(counts.values())}"
        )
    return kept
