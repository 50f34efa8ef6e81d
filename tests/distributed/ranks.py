"""Starts the processes of a training, and what all trainings here have in common.

A process takes seconds to import torch, Lightning and the package. These are forks of a server that has imported them once.
"""

import os
import socket
import sys
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path

from lightning.pytorch import Trainer

IMPORTED = ["pytest", "lightning.pytorch", "timm", "lightning_transfer.cli"]
TIMEOUT = 300


def quiet_trainer(devices, max_epochs, **options):
    return Trainer(
        accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=max_epochs, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, **options,
    )  # fmt: skip


def run_ranks(folder, file, devices, *arguments):
    """Call `run(devices, *arguments)` of a test's own file in so many processes, as torchrun would, each working in `folder`."""
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(devices)}
    variables = [shared | {"LOCAL_RANK": str(rank)} for rank in range(devices)] if devices > 1 else [{}]
    ranks = [context.Process(target=_begin, args=(folder, v, file, devices, *arguments)) for v in variables]
    for rank in ranks:
        rank.start()
    running = ranks
    while running and not any(rank.exitcode for rank in ranks) and wait([rank.sentinel for rank in running], TIMEOUT):
        running = [rank for rank in running if rank.is_alive()]
    for rank in running:  # another failed, or time is up
        rank.kill()
        rank.join()
    assert not any(rank.exitcode for rank in ranks), (folder / "errors.txt").read_text()[-2000:]


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _begin(folder, variables, file, devices, *arguments):
    with open(folder / "errors.txt", "a") as errors:
        os.dup2(errors.fileno(), 1)
        os.dup2(errors.fileno(), 2)
    os.chdir(folder)
    os.environ.update(variables)
    sys.path.insert(0, str(Path(file).parent))
    import_module(Path(file).stem).run(devices, *arguments)
