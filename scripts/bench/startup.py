"""How long the command line takes to answer and to reach the first training step, against a bare LightningCLI script.

usage: python scripts/bench/startup.py [--pairs 5]
Pairs alternate; medians are given. The last line is one JSON object; `ratio` is ours over bare for `fit --help`,
`first_step_ratio` for the time from the command to the end of the first training step (bar of both: 1.25).
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import median, parser, refuse_under_load, report

# What a user would write with Lightning alone for ResNet-18 on scikit-learn's digits.
BARE = """
import timm
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import Accuracy
from torchvision.transforms import v2


class Module(LightningModule):
    def __init__(self, name: str = "resnet18", lr: float = 0.001):
        super().__init__()
        self.model = timm.create_model(name, num_classes=10)
        self.lr = lr
        self.accuracy = Accuracy("multiclass", num_classes=10)

    def training_step(self, batch, batch_idx):
        loss = cross_entropy(self.model(batch[0]), batch[1])
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.accuracy(self.model(batch[0]), batch[1])
        self.log("val/accuracy", self.accuracy)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), self.lr)


class Data(LightningDataModule):
    def __init__(self, image_size: int = 64, batch_size: int = 32):
        super().__init__()
        self.image_size, self.batch_size = image_size, batch_size

    def setup(self, stage):
        images, targets = load_digits(return_X_y=True)
        images = torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8).expand(-1, 3, -1, -1)
        images = v2.Resize(self.image_size)(images)
        self.set = TensorDataset(images, torch.tensor(targets))

    def train_dataloader(self):
        return DataLoader(self.set, self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.set, self.batch_size)


if __name__ == "__main__":
    LightningCLI(Module, Data)
"""
# Ends the process after the first step; found by its name, since the folder is put on the path.
STOP = """
import os
from lightning.pytorch import Callback


class Stop(Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        os._exit(0)
"""
OURS = [
    "--model=lightning_transfer.modules.FinetuneModule",
    "--model.backbone=lightning_transfer.backbones.TimmBackbone",
    "--model.backbone.name=resnet18",
    "--model.backbone.pretrained=false",
    "--data=lightning_transfer.data.DigitsData",
    "--data.image_size=64",
]


def seconds(command: list[str], folder: str) -> float:
    """Wall time of one process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryFile("w+") as log:  # a pipe would stay open until the last worker that loads images is gone
        begin = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=log)
        taken = time.perf_counter() - begin
        if done.returncode:
            log.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{log.read()[-2000:]}")
    return taken


def main() -> None:
    """Time help, version, import and first step, each beside its counterpart."""
    arguments = parser(__doc__)
    arguments.add_argument("--pairs", type=int, default=5)
    pairs = arguments.parse_args().pairs
    refuse_under_load()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bare.py").write_text(BARE)
        (Path(folder) / "stop.py").write_text(STOP)
        bare, ours = [sys.executable, "bare.py"], [sys.executable, "-m", "lightning_transfer"]
        stop = ["--trainer.callbacks+=stop.Stop", "--trainer.accelerator=cpu"]
        commands = {
            "bare fit --help": [*bare, "fit", "--help"],
            "fit --help": [*ours, "fit", "--help"],
            "bare first step": [*bare, "fit", *stop],
            "first step": [*ours, "fit", *OURS, *stop],
            "--help": [*ours, "--help"],
            "--version": [*ours, "--version"],
            "python -c pass": [sys.executable, "-c", "pass"],
            "import lightning_transfer": [sys.executable, "-c", "import lightning_transfer"],
        }
        for command in commands.values():
            seconds(command, folder)  # the first reads from disk
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(pairs):
            for name, command in commands.items():
                times[name].append(seconds(command, folder))
    for name, values in times.items():
        print(f"{name:<26} {median(values, ' s')}")

    def ratio(name: str) -> float:
        return statistics.median(a / b for a, b in zip(times[name], times[f"bare {name}"], strict=True))

    imported = statistics.median(times["import lightning_transfer"]) - statistics.median(times["python -c pass"])
    report({
        "ratio": ratio("fit --help"),
        "first_step_ratio": ratio("first step"),
        "help_seconds": statistics.median(times["--help"]),
        "import_seconds": imported,
    })  # fmt: skip


if __name__ == "__main__":
    main()
