import os

os.environ["HF_HUB_OFFLINE"] = "1"  # tests need no network, and must not wait for one
os.environ.setdefault("WANDB_MODE", "offline")

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer


@pytest.fixture
def data_root():
    if "LIGHTNING_TRANSFER_DATA" not in os.environ:
        pytest.skip("LIGHTNING_TRANSFER_DATA names no folder with real data")
    return Path(os.environ["LIGHTNING_TRANSFER_DATA"])


@pytest.fixture(autouse=True)
def _seed_and_folder(tmp_path, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)  # whatever a run writes lands there
    monkeypatch.delenv("LIGHTNING_TRANSFER_RUN", raising=False)


@pytest.fixture
def trainer(tmp_path):
    def make(**options):
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        return Trainer(default_root_dir=tmp_path, **{**quiet, "enable_checkpointing": False, **options})

    return make


class HaltAfter(Callback):
    """Breaks a training off once it had as many epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


@pytest.fixture
def halt_after():
    return HaltAfter


@pytest.fixture
def complaint(capsys):
    """Runs a command that must end in a sentence and exit code 2, and returns what it said."""
    from lightning_transfer.__main__ import main

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        assert stop.value.code == 2
        text = capsys.readouterr().err
        assert "Traceback" not in text
        return text

    return run
