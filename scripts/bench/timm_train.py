"""Training speed beside timm's train.py: same images, model, augmentation, optimiser, workers and epochs.

usage: git clone https://github.com/huggingface/pytorch-image-models timm
       python scripts/bench/timm_train.py --timm timm [--images data/stamps] [--model resnet18] [--pixels 128] [--epochs 3] [--rounds 3]
Each round runs timm's script and `lightning-transfer fit` one after the other, as processes of their own; the first epoch of each,
in which workers start, is left out, and validation is not counted. timm's script measures itself (its log). Both lay images and weights
out with channels last. The last line is one JSON object; `ratio` is ours over timm's in samples a second (bar: 1.0).
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from common import median, parser, refuse_under_load, report
from lightning.pytorch import Callback, Trainer


class EpochTimes(Callback):
    """Prints the samples a second of every training epoch but the first, validation left out."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.begin = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.current_epoch:
            print(f"epoch {self.samples / (time.perf_counter() - self.begin):.3f} samples a second", flush=True)


def folders(args: Namespace, where: Path) -> int:
    """Link the images as train/CLASS, one of each class as val/CLASS; returns the number for training in whole batches."""
    script = Path(__file__).parents[1] / "data" / "class_folders.py"
    subprocess.run(
        [sys.executable, script, args.images / "index.csv", where / "train"], check=True, stdout=subprocess.DEVNULL
    )
    for folder in (where / "train").iterdir():
        moved = next(folder.iterdir())
        (where / "val" / folder.name).mkdir(parents=True)
        moved.rename(where / "val" / folder.name / moved.name)
    return sum(1 for _ in (where / "train").rglob("*.*")) // args.batch * args.batch


def theirs(args: Namespace, where: Path) -> list[float]:
    """Samples a second of each epoch but the first, by timm's log."""
    command = [
        "train.py", "--data-dir", str(where), "--train-split", "train", "--val-split", "val", "--model", args.model,
        "--num-classes", str(len(list((where / "train").iterdir()))), "--img-size", str(args.pixels), "--batch-size", str(args.batch),
        "--epochs", str(args.epochs), "--workers", str(args.workers), "--device", "cpu", "--channels-last", "--opt", "adamw", "--lr", "1e-3",
        "--weight-decay", "0.05", "--scale", "0.35", "1.0", "--ratio", "0.75", "1.3333", "--hflip", "0.5", "--color-jitter", "0",
        "--train-interpolation", "bilinear", "--warmup-epochs", "0", "--log-interval", "1000", "--output", str(where / "timm"),
    ]  # fmt: skip
    run = subprocess.run(
        [sys.executable, *command], cwd=args.timm, env=_environment(), capture_output=True, text=True, check=False
    )
    rates = re.findall(r"Train: (\d+) \[.*\(100%\)\].*?\([\d.]+s, +([\d.]+)/s\)", run.stdout + run.stderr)
    if len(rates) < args.epochs:
        sys.exit(f"timm's script failed:\n{(run.stdout + run.stderr)[-2000:]}")
    return [float(rate) for epoch, rate in rates if int(epoch)]


def ours(args: Namespace, where: Path, samples: int) -> list[float]:
    """Samples a second of each epoch but the first, by `EpochTimes`."""
    command = [
        "-m", "lightning_transfer", "fit", "--model", "FinetuneModule", "--model.backbone", "TimmBackbone", "--model.backbone.name", args.model,
        "--model.backbone.pretrained", "false", "--data", "FolderData", "--data.root", str(where), "--data.image_size", str(args.pixels),
        "--data.batch_size", str(args.batch), "--data.num_workers", str(args.workers), "--data.test_fraction", "0",
        "--trainer.max_epochs", str(args.epochs), "--trainer.enable_progress_bar", "false", "--trainer.default_root_dir", str(where / "ours"),
        "--trainer.callbacks+", "timm_train.EpochTimes", "--trainer.callbacks.samples", str(samples),
    ]  # fmt: skip
    run = subprocess.run([sys.executable, *command], env=_environment(), capture_output=True, text=True, check=False)
    rates = re.findall(r"epoch ([\d.]+) samples", run.stdout)
    if len(rates) < args.epochs - 1:
        sys.exit(f"lightning-transfer failed:\n{(run.stdout + run.stderr)[-2000:]}")
    return [float(rate) for rate in rates]


def _environment() -> dict[str, str]:
    here = str(Path(__file__).parent)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}


def main() -> None:
    """Measure in turns."""
    arguments = parser(__doc__)
    arguments.add_argument("--timm", type=Path, required=True, help="folder of timm's repository")
    arguments.add_argument(
        "--images",
        type=Path,
        default=Path("data/stamps"),
        help="folder with index.csv, as scripts/data/stamps.py makes it",
    )
    arguments.add_argument("--model", default="resnet18")
    for name, value in (("pixels", 128), ("batch", 32), ("workers", 2), ("epochs", 3), ("rounds", 3)):
        arguments.add_argument(f"--{name}", type=int, default=value)
    args = arguments.parse_args()
    refuse_under_load()
    rates: dict[str, list[float]] = {"timm": [], "ours": []}
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        samples = folders(args, where)
        for _ in range(args.rounds):
            of_timm, of_ours = theirs(args, where), ours(args, where, samples)
            rates["timm"] += of_timm
            rates["ours"] += of_ours
            ratios.append(statistics.median(of_ours) / statistics.median(of_timm))
    for name, values in rates.items():
        print(f"{name:<6} {median(values, ' samples a second', 1)}")
    print(f"ratio  {median(ratios)}")
    report(
        {
            "ratio": statistics.median(ratios),
            "low": min(ratios),
            "high": max(ratios),
            **{k: statistics.median(v) for k, v in rates.items()},
        }
    )


if __name__ == "__main__":
    main()
