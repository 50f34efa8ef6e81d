"""A folder of its own for every run."""

import os
from datetime import datetime
from pathlib import Path

_VARIABLE = "LIGHTNING_TRANSFER_RUN"


def run_folder(command: str, ckpt_path: str | None, name: str) -> Path:
    """Choose the folder of a run: `runs/NAME/TIME` for training, `COMMAND_TIME` beside the checkpoint for the rest.

    The processes of one job agree on it: those started by the first inherit its choice, those started by a cluster share a job number.

    Args:
        command: fit, validate, test or predict.
        ckpt_path: checkpoint of the run, if any.
        name: name of the experiment.
    """
    if _VARIABLE in os.environ and "LOCAL_RANK" in os.environ:
        return Path(os.environ[_VARIABLE])
    job = os.environ.get("SLURM_JOB_ID") or os.environ.get("TORCHELASTIC_RUN_ID")
    stamp = job if job and job != "none" else datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    parent, prefix = Path("runs") / name, ""
    if command != "fit" and ckpt_path:
        parent, prefix = Path(ckpt_path).parent, f"{command}_"
    folder, number = parent / f"{prefix}{stamp}", 1
    while folder.exists() and not job:
        number += 1
        folder = parent / f"{prefix}{stamp}-{number}"
    os.environ[_VARIABLE] = str(folder)
    return folder


def output_path(command: str, ckpt_path: str, out: str | None) -> Path:
    """Choose where a command writes the checkpoint that it makes of others.

    Args:
        command: its name, and the file's if none is given.
        ckpt_path: checkpoint beside which a folder is made if no path is given.
        out: the path as typed, if any.

    Raises:
        ValueError: for a path that does not end in `.ckpt`.
    """
    if out is None:
        return run_folder(command, ckpt_path, "") / f"{command}.ckpt"
    if Path(out).suffix != ".ckpt":
        raise ValueError(f"out={out!r} must end in .ckpt; what belongs to it is written beside it under the same name")
    return Path(out)
