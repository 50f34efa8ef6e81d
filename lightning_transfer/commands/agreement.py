"""`lightning-transfer agreement`: how far students say what their teacher says, in figures and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lightning_transfer.data import ImageData
from lightning_transfer.data.alike import require_same_images
from lightning_transfer.devices import find_device
from lightning_transfer.files import whole, write_csv
from lightning_transfer.metrics.agreement import agreement_figures
from lightning_transfer.metrics.correlation import class_mean_difference, correlation_difference, sizes
from lightning_transfer.modules import TransferModule
from lightning_transfer.reports.answers import Asked, ask
from lightning_transfer.reports.differences import draw_differences
from lightning_transfer.runs import run_folder
from lightning_transfer.teachers import CheckpointTeacher, Teacher
from lightning_transfer.teachers.examine import require_same_classes

Row = dict[str, Any]


def agreement(
    teacher: Teacher | str,
    ckpt_path: list[str] | str,
    data: ImageData | None = None,
    split: Literal["train", "val", "test"] = "test",
    top_k: int = 5,
    device: str = "auto",
    out: str | None = None,
) -> Path:
    """Show a split to a teacher and its students, and write where they agree into a folder.

    `agreement.csv` has one row a student; `matrices.npz` the difference of the correlations between classes' logits, and of the mean
    logits of each class's images; `correlation.png` and `class_means.png` show them, each with one scale of colours for all students.

    Args:
        teacher: a checkpoint, or any teacher. Of an ensemble the probabilities count together, and where logits are compared their
            mean.
        ckpt_path: the student's checkpoint, or a list of several, of the teacher's classes in its order.
        data: what to measure on; the students' own if not given, which then must be the same.
        split: whose images are shown, behind the evaluation transform.
        top_k: the teacher's class may be among so many of the student's to count as `agreement_top`, at least 1.
        device: where to compute, such as cuda:0; auto takes a GPU if there is one.
        out: the folder; one beside the first student's checkpoint if not given.

    Returns:
        the folder

    Raises:
        FileNotFoundError, ValueError: for files that are no checkpoints, other classes than the teacher's, students of unlike data, or a
            split that is not there.
    """
    paths = [ckpt_path] if isinstance(ckpt_path, str) else ckpt_path
    if not paths or len(set(paths)) < len(paths):
        raise ValueError(f"ckpt_path={paths} must name at least one student, and each once")
    if top_k < 1:
        raise ValueError(f"top_k={top_k} must be at least 1")
    place = find_device(device)
    students: list[TransferModule] = [TransferModule.load_from_checkpoint(path, map_location="cpu") for path in paths]
    teacher = CheckpointTeacher(teacher) if isinstance(teacher, str) else teacher
    teacher.load()
    own = {} if data else {path: ImageData.load_from_checkpoint(path) for path in paths}
    data = data or own[paths[0]]
    known = dict(zip(paths, students, strict=True))
    _require_classes({**known, "the data": data})
    everybody: dict[str, Any] = {"the teacher": teacher, **known, "the data": data}
    require_same_classes({whose: one.class_names for whose, one in everybody.items()})
    if own:
        require_same_images(own, split)
    data.prepare_data()
    if split not in data.splits():
        raise ValueError(f"split={split}: the data has {', '.join(data.splits())}; choose one of these")
    asked = ask(teacher, students, data.ordered_dataloader(data.splits()[split]), data.num_classes, place)
    data.teardown("test")  # says which images could not be read
    folder = Path(out) if out else run_folder("agreement", paths[0], "agreement")
    rows = _write(folder, paths, asked, data.class_names, top_k)
    title = f"{len(asked.target)} {split} images of {type(data).__name__}"
    Console().print(_table(rows, short_names(paths), title))
    print(f"written to {folder}")
    return folder


def _require_classes(known: Mapping[str, TransferModule | ImageData]) -> None:
    for whose, one in known.items():
        if one.task != "classification":
            raise ValueError(f"agreement is of one class an image, but {whose} has task={one.task}")


def _write(folder: Path, paths: Sequence[str], asked: Asked, class_names: list[str], top_k: int) -> list[Row]:
    taught, target = asked.teacher, asked.target
    rows: list[Row] = []
    matrices: dict[str, list[Any]] = {"correlation": [], "class_means": []}
    for path, said, cka in zip(paths, asked.students, asked.cka, strict=True):
        found = {
            "correlation": correlation_difference(said.logits, taught.logits),
            "class_means": class_mean_difference(said.logits, taught.logits, target),
        }
        row: Row = {"student": path, "images": len(target), **agreement_figures(said, taught, target, top_k)}
        row["cka"] = None if cka != cka else cka  # a teacher may show no embedding
        for name, matrix in found.items():
            matrices[name].append(matrix)
            row |= {f"{name}_{size}": value for size, value in sizes(matrix).items()}
        rows.append(row)
    write_csv(rows, folder / "agreement.csv")
    with whole(folder / "matrices.npz") as partial, partial.open("wb") as file:  # to a path numpy would add an ending
        arrays: dict[str, Any] = {"students": np.array(paths), "class_names": np.array(class_names)}
        arrays |= {name: torch.stack(found).numpy() for name, found in matrices.items()}
        np.savez_compressed(file, **arrays)
    titles = short_names(paths)
    headlines = {
        "correlation": "correlation between the logits of two classes:\nstudent − teacher",
        "class_means": "mean logit (column) for the images of a class (row):\n|student − teacher|, the class's own left out",
    }
    for name, headline in headlines.items():
        draw_differences(matrices[name], titles, class_names, headline, folder / f"{name}.png")
    return rows


def short_names(paths: Sequence[str]) -> list[str]:
    """What tells paths apart: their parts without those that all begin or end with.

    Example:
        >>> short_names(["runs/hinton/3/best.ckpt", "runs/crd/1/best.ckpt"])
        ['hinton/3', 'crd/1']
        >>> short_names(["runs/hinton/3/best.ckpt"])
        ['hinton/3/best']
    """
    parts = [Path(path).with_suffix("").parts for path in paths]
    if len(parts) == 1:
        return ["/".join(parts[0][-3:])]
    while len({part[0] for part in parts}) == 1 and min(map(len, parts)) > 1:
        parts = [part[1:] for part in parts]
    while len({part[-1] for part in parts}) == 1 and min(map(len, parts)) > 1:
        parts = [part[:-1] for part in parts]
    return ["/".join(part) for part in parts]


def _table(rows: Sequence[Row], names: Sequence[str], title: str) -> Table:
    """One line a figure: students are few, figures many."""
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("")
    for heading in ("teacher", *names):
        table.add_column(heading, overflow="fold", justify="right")
    of_both = {key for key in rows[0] if f"teacher_{key}" in rows[0]}
    for key in list(rows[0])[2:]:  # after student and images
        if key.removeprefix("teacher_") not in of_both - {key}:
            taught = rows[0][f"teacher_{key}"] if key in of_both else None
            table.add_row(key.replace("_", " "), *(_shown(value) for value in (taught, *(row[key] for row in rows))))
    return table


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.4f}"
