"""Rows on disk that are told by the image they were computed of: a file that several processes fill and read at a time."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_transfer.hashes import checksums
from lightning_transfer.teachers.packing import Records


class Rows:
    """A folder with a row for each version of each image, which is there whole, empty rows included, or not at all.

    A row carries two checksums: that of its image, 0 before it is written, and that of what follows. A row that was being written when
    the power went fails the second and counts as empty.

    Args:
        folder: made by `create`.
        about: what the folder was made for.
        rows: (versions, N) records.
    """

    def __init__(self, folder: Path, about: dict[str, Any], rows: Records) -> None:
        self.folder, self.about, self.rows = folder, about, rows

    @classmethod
    def open(cls, folder: Path) -> "Rows | None":
        """Open a folder; none if there is none, or it is empty.

        Raises:
            ValueError: for a folder that holds something else, or a torn file.
        """
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return None
        if not (folder / "about.json").is_file():
            raise ValueError(
                f"{folder} exists, but holds no teacher's outputs; give an empty folder, or one that does not exist"
            )
        path = folder / "rows.npy"
        try:
            about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
            # copy on write, which does for reading, does not fill a file that is cut off with zeros
            rows = np.load(path, mmap_mode="c")
            if os.access(path, os.W_OK):
                rows = np.load(path, mmap_mode="r+")
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"the cache in {folder} is torn ({error}); remove the folder") from error
        return cls(folder, about, np.asarray(rows))

    @classmethod
    def create(
        cls,
        folder: Path,
        about: dict[str, Any],
        shape: tuple[int, int],
        fields: Sequence[tuple[str, str, tuple[int, ...]]],
    ) -> None:
        """Make a folder of empty rows, unless another process is first.

        Args:
            folder: missing or empty.
            about: plain data.
            shape: (versions, N).
            fields: what a row keeps.

        Raises:
            ValueError: where the disk has not that much room.
        """
        kind = _kind(fields)
        folder.parent.mkdir(parents=True, exist_ok=True)
        size, free = shape[0] * shape[1] * kind.itemsize, shutil.disk_usage(folder.parent).free
        if size > free:
            raise ValueError(
                f"the cache in {folder} would take {size / 1e9:.3g} GB, but {free / 1e9:.3g} GB are free there; top_k, precision=16 "
                "or fewer data.augmentations make it smaller"
            )
        partial = folder.with_name(f".{folder.name}.{uuid4().hex}.partial")  # several machines may have one pid
        try:
            partial.mkdir()
            np.lib.format.open_memmap(partial / "rows.npy", mode="w+", dtype=kind, shape=shape)
            _reserve(partial / "rows.npy")
            (partial / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
            partial.replace(folder)
        except OSError as error:
            if not (folder / "about.json").is_file():  # otherwise another process was first
                raise ValueError(f"the cache in {folder}, of {size / 1e9:.3g} GB, cannot be made: {error}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def read(self, version: int, indices: NDArray[np.int64]) -> Records:
        """Copy rows from the file."""
        records: Records = self.rows[version][indices]
        return records

    def write(self, version: int, indices: NDArray[np.int64], records: Records, images: NDArray[np.int64]) -> None:
        """Seal records by their checksums, and write them.

        Args:
            version: of the images.
            indices: (B,).
            records: (B,), whose content is written already.
            images: checksums (B,) of the images.
        """
        records["image"], records["content"] = images, _content(records)
        self.rows[version][indices] = records


def intact(records: Records) -> NDArray[np.bool_]:
    """Which records (B,) were written, and wholly."""
    written: NDArray[np.bool_] = (records["image"] != 0) & (records["content"] == _content(records))
    return written


def empty(count: int, kind: np.dtype[Any]) -> Records:
    """Records to be filled."""
    return np.zeros(count, kind)


def _kind(fields: Sequence[tuple[str, str, tuple[int, ...]]]) -> np.dtype[Any]:
    seals = [("image", "<i8"), ("content", "<i8")]
    rest = -np.dtype([*seals, *fields]).itemsize % 8
    return np.dtype([*seals, *fields, *([("filling", "u1", (rest,))] if rest else [])])


def _content(records: Records) -> NDArray[np.int64]:
    words: Tensor = torch.from_numpy(records.view(np.int64).reshape(len(records), -1)[:, 2:])
    return checksums(words).numpy()


def _reserve(path: Path) -> None:
    """Take the room on the disk: a mapped file that finds none left when it is written to ends the process without a word."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
