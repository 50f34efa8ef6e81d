"""Files that are either whole or not there."""

import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, fill: Callable[[Path], object]) -> None:
    """Write a file under a hidden name of this process and rename it once whole: nobody meets half a file.

    Args:
        path: the file; its folder exists.
        fill: writes the file whose path it is given.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        fill(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
