import os

os.environ["HF_HUB_OFFLINE"] = "1"  # tests need no network, and must not wait for one
os.environ.setdefault("WANDB_MODE", "offline")

import re
import zlib
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import nn
from torchmetrics import MetricCollection

from lightning_transfer import Optim, TimmBackbone, TransferModule
from lightning_transfer.contracts import StepOutput
from lightning_transfer.models import ImageTextModel
from lightning_transfer.text_towers import TextTokens, TextTower


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


class WordTower(TextTower):
    """Reads words and full stops, whatever they are, one token each; each matters where it stands."""

    prefix = 1

    def __init__(self, width=16, context_length=24):
        super().__init__()
        self.num_features, self.context_length = width, context_length
        self.entries = nn.Embedding(512, width)
        self.positions = nn.Parameter(torch.randn(context_length, width))
        self.mix = nn.Linear(width, width)

    def tokenize(self, texts):
        rows = [[1, *(3 + zlib.crc32(w.encode()) % 500 for w in re.findall(r"\w+|[^\w\s]", t)), 2] for t in texts]
        if empty := [text for text, row in zip(texts, rows, strict=True) if len(row) == 2]:
            raise ValueError(f"the text {empty[0]!r} is empty")
        longest = max(map(len, rows))
        if longest > self.context_length:
            raise ValueError(
                f"the text {texts[0]!r} has {longest} tokens, more than context_length={self.context_length}"
            )
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        return TextTokens(ids, ids > 0)

    def embed(self, ids):
        return self.entries(ids)

    def encode(self, entries, tokens):
        seen = torch.tanh(self.mix(entries + self.positions[: entries.shape[1]])) * tokens.mask.unsqueeze(-1)
        return seen.sum(dim=1)


def make_image_text(backbone="test_resnet", dim=16, width=16, scale=10.0, bias=None):
    tower = WordTower(width)
    return ImageTextModel(TimmBackbone(backbone, pretrained=False), tower, dim, scale, bias).eval()


class PairsModule(TransferModule):
    """Holds an image-text model, and trains its scale."""

    def __init__(self, backbone="test_resnet", dim=16, num_classes=4, class_names=None, image_size=None):
        optim = Optim(torch.optim.Adam)
        super().__init__(
            num_classes, class_names, image_size, "classification", optim, MetricCollection([]), False, False
        )
        self.model = make_image_text(backbone, dim)

    def step(self, batch):
        return StepOutput(self.model.log_scale, {})


@pytest.fixture
def pairs(image_text, trainer):
    """The path of a checkpoint with an image-text model in it."""
    run = trainer(max_epochs=1)
    run.strategy.connect(PairsModule())
    run.save_checkpoint("pairs.ckpt")
    return "pairs.ckpt"


@pytest.fixture
def image_text(monkeypatch):
    """Makes tiny image-text models, which a checkpoint can name."""
    monkeypatch.setenv("LIGHTNING_TRANSFER_TRUST", "tests")
    return make_image_text
