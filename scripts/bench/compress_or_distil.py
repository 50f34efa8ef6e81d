"""Compression beside distillation: what zeros, fewer channels, 8-bit integers and small students make of one teacher, over latency and size.

usage: python scripts/bench/compress_or_distil.py [--seeds 3] [--steps 200] [--student_steps 1000] [--out runs/compress_or_distil]
The teacher is `finetune/digits`. Each network learns from its answers to all training images, without their labels, for so many steps of 32
images: zeros (ExactOBS over all layers) with their zeros kept, networks with fewer channels (Torch-Pruning, by magnitude), and students of
random weights. All are written as ONNX files of floating-point numbers and of 8-bit integers, whose test accuracy, bytes and milliseconds
for one image, by turns in one ONNX Runtime on one thread, are what is reported. A seed drives all of them. Draws accuracy over
milliseconds and bytes as compress_or_distil.png below --out. Results are kept there, and a second call goes on. The last line is one JSON object.
"""

import statistics
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import once, parser, quiet_trainer, report, silence
from lightning.pytorch import seed_everything
from seeds import mean_and_deviation, train_and_test
from torch.optim import AdamW

from lightning_transfer import Optim
from lightning_transfer.backbones import TimmBackbone
from lightning_transfer.callbacks import KeepZeros
from lightning_transfer.commands.compress import compress
from lightning_transfer.commands.prune_channels import prune_channels
from lightning_transfer.compression import ExactOBS, Unstructured
from lightning_transfer.compression.timing import time_beside
from lightning_transfer.data import ImageData
from lightning_transfer.edits import StartFrom
from lightning_transfer.exports import Int8Export, OnnxExport
from lightning_transfer.exports.checkpoint import open_checkpoint, training_images
from lightning_transfer.exports.onnx import session
from lightning_transfer.losses.distill import SoftTargetKL
from lightning_transfer.modules import DistillModule
from lightning_transfer.optim import WarmupCosine
from lightning_transfer.teachers import CheckpointTeacher

TEACHER = "tf_efficientnet_lite0"
ZEROS = (0.8, 0.9, 0.95)
CHANNELS = (0.3, 0.5, 0.7)
STUDENTS = ("lcnet_050", "resnet10t")


def networks(args: Namespace, seed: int) -> dict[str, Path]:
    """A checkpoint of each network, made where it is not there."""
    folder = args.out / str(seed)
    dense = folder / "dense" / "best.ckpt"
    if not dense.is_file():
        train_and_test("finetune/digits", dense.parent, seed)
    made = {"teacher": dense}
    for zeros in ZEROS:
        path = folder / f"zeros_{zeros}.ckpt"
        sparse = [ExactOBS(Unstructured(zeros, across="model"), max_columns=600)]
        _make(path, partial(compress, str(dense), sparse, out=str(path), rounds=1, resamples=1))
        made[f"{100 * zeros:g} % zeros"] = distilled(args, seed, dense, path, args.steps, [KeepZeros()])
    for ratio in CHANNELS:
        path = folder / f"channels_{ratio}.ckpt"
        _make(path, partial(prune_channels, str(dense), ratio, out=str(path), rounds=1, resamples=1))
        made[f"{100 * ratio:g} % fewer channels, not trained"] = path
        made[f"{100 * ratio:g} % fewer channels"] = distilled(args, seed, dense, path, args.steps)
    for name in STUDENTS:
        made[f"{name} from random weights"] = distilled(args, seed, dense, name, args.student_steps)
    return made


def _make(path: Path, make: Any) -> None:
    once(path.with_suffix(".made"), lambda: {"path": str(make())})


def distilled(
    args: Namespace, seed: int, dense: Path, start: Path | str, steps: int, callbacks: list[Any] | None = None
) -> Path:
    """The checkpoint of a student that has listened to the teacher: a narrower or sparser one of its kind, or another of random weights."""
    fresh = isinstance(start, str)
    path = args.out / str(seed) / f"{start if fresh else Path(start).stem}_distilled.ckpt"

    def train() -> dict[str, Any]:
        seed_everything(seed)
        edits: list[Any] = [] if fresh else [StartFrom(str(start), parameters="")]
        data = ImageData.load_from_checkpoint(dense)
        data = type(data)(**{**data.init_args, "labels_per_class": None, "batch_size": 32})
        optim = Optim(partial(AdamW, lr=2e-3 if fresh else 5e-4, weight_decay=0.05), partial(WarmupCosine, warmup=0.1))
        module = DistillModule(
            TimmBackbone(str(start) if fresh else TEACHER, pretrained=False), CheckpointTeacher(str(dense)), 10,
            {"soft": SoftTargetKL(temperature=4.0)}, optim=optim, edits=edits,
        )  # fmt: skip
        trainer = quiet_trainer(steps, callbacks=callbacks or [])
        trainer.fit(module, data)
        trainer.save_checkpoint(path, weights_only=True)
        return {"path": str(path)}

    _make(path, lambda: train()["path"])
    return path


def judged(folder: Path, checkpoint: Path) -> dict[str, Any]:
    """Test accuracy in % and bytes of the ONNX files, which are left beside the checkpoint."""
    model, images = open_checkpoint(str(checkpoint), num_images=10**6)
    source = ImageData.load_from_checkpoint(checkpoint).splits()["test"]
    target = torch.as_tensor(source.targets)
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in model.model.parameters())}
    for name, form in {"float": OnnxExport(), "int8": Int8Export()}.items():
        if form.training_images:
            form.see(training_images(str(checkpoint), form.training_images))
        path = folder / f"{checkpoint.stem}.{name}.onnx"
        form.write(model, path)
        run = form.load(path)
        answers = torch.stack([run(image.unsqueeze(0))[0] for image in images]).argmax(dim=1)
        found[name] = {
            "accuracy": 100 * (answers == target).double().mean().item(),
            "bytes": path.stat().st_size,
            "path": str(path),
        }
    return found


def milliseconds(files: dict[str, str], image: torch.Tensor, rounds: int) -> dict[str, float]:
    """For one image on one thread, all files by turns."""
    runs = {name: session(path, 1) for name, path in files.items()}
    feed = {"image": image.numpy()}
    ways = {name: lambda run=run: run.run(None, feed) for name, run in runs.items()}
    return {name: timing.milliseconds for name, timing in time_beside(ways, rounds).items()}


def one_seed(args: Namespace, seed: int) -> dict[str, dict[str, Any]]:
    made = networks(args, seed)
    folder = args.out / str(seed)
    found = {
        name: once(folder / "figures" / path.stem, lambda p=path: judged(folder, p)) for name, path in made.items()
    }
    files = {f"{name}, {kind}": each[kind]["path"] for name, each in found.items() for kind in ("float", "int8")}
    _, images = open_checkpoint(str(made["teacher"]), num_images=1)
    clock = once(folder / "figures" / "clock", lambda: milliseconds(files, images[0].unsqueeze(0), args.rounds))
    return {
        f"{name}, {kind}": {**each[kind], "parameters": each["parameters"], "ms": clock[f"{name}, {kind}"]}
        for name, each in found.items()
        for kind in ("float", "int8")
    }


def draw(table: dict[str, dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    kinds = {"zeros": "tab:red", "channels": "tab:blue", "random": "tab:green", "teacher": "black"}
    for way, row in table.items():
        name, _, kind = way.rpartition(", ")
        if "not trained" in name:
            continue
        colour = next(colour for word, colour in kinds.items() if word in name)
        fill = colour if kind == "float" else "white"
        for axes, key in ((left, "ms"), (right, "megabytes")):
            axes.errorbar(row[key], row["accuracy"][0], row["accuracy"][1], fmt="o", color=colour, mfc=fill, capsize=3)
            label = name.replace(" from random weights", "").replace(" fewer channels", " channels")
            axes.annotate(label, (row[key], row["accuracy"][0]), (4, 3), textcoords="offset points", fontsize=6)
    left.set(xscale="log", xlabel="milliseconds for one image, ONNX Runtime, one thread", ylabel="test accuracy, %")
    right.set(xscale="log", xlabel="megabytes of the file")
    for axes in (left, right):
        axes.margins(x=0.13)  # for the names
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.3g}"))
        axes.minorticks_off()
    figure.suptitle("full: floating-point numbers, hollow: 8-bit integers")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=200, help="of networks that begin at the teacher's weights")
    arguments.add_argument("--student_steps", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=50, help="of the clock")
    arguments.add_argument("--out", type=Path, default=Path("runs/compress_or_distil"))
    args = arguments.parse_args()
    silence()
    seeds = [one_seed(args, seed) for seed in range(args.seeds)]
    table: dict[str, dict[str, Any]] = {}
    for way in seeds[0]:
        each = [seed[way] for seed in seeds]
        accuracy = mean_and_deviation([one["accuracy"] for one in each])
        ms = statistics.median(one["ms"] / seed["teacher, float"]["ms"] for one, seed in zip(each, seeds, strict=True))
        table[way] = {
            "accuracy": accuracy,
            "parameters": each[0]["parameters"],
            "megabytes": each[0]["bytes"] / 1e6,
            "ms": statistics.median(one["ms"] for one in each),
            "faster": 1 / ms,
        }
        row = table[way]
        print(
            f"| {way} | {accuracy[0]:.1f} ± {accuracy[1]:.1f} | {row['parameters']:,} | {row['megabytes']:.2f} | {row['ms']:.2f} | "
            f"{row['faster']:.2f} |"
        )
    draw(table, args.out / "compress_or_distil.png")
    report({"seeds": args.seeds, "ways": table})


if __name__ == "__main__":
    main()
