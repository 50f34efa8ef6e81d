"""Adaptation of the inputs beside that of the mapping and of the outputs: test accuracy, trained parameters and seconds, over seeds.

usage: python scripts/bench/prompting.py [digits stamps mnist emoji] [--seeds 3] [--steps 200] [--out runs/prompting]
ImageNet EfficientNet-Lite0, frozen but for fine-tuning, at 64 pixels: without a prompt behind each label mapping; with prompts of pixels
behind the iterative mapping; beside a linear probe and fine-tuning. MNIST is cut to 100 images a class; emoji are Google's, tested on Google's and Twitter's of concepts held out, in a few ways. A seed drives training, splits
and the choice of images; of two rates the one with the best validation accuracy of seed 0 is taken, the least of equals.
Trainings have a fixed number of steps and are measured at their end. An interrupted run goes on where it was. Writes DATA.csv and
prompting.png, prints tables and, as its last line, one JSON object.
"""

import csv
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from common import once, parser, quiet_trainer, report, silence, train
from lightning.pytorch import seed_everything
from seeds import mean_and_deviation
from torch.optim import Adam, AdamW

from lightning_transfer import FinetuneModule, Optim, TimmBackbone, VisualPromptModule
from lightning_transfer.data import (
    DigitsData,
    EmojiData,
    EvalTransform,
    ImageData,
    StampsData,
    TorchvisionData,
    TrainTransform,
)
from lightning_transfer.edits import FreezeBackbone
from lightning_transfer.mappings import (
    BayesianMapping,
    FirstMapping,
    FrequencyMapping,
    IterativeMapping,
    LabelMapping,
    LinearMapping,
    RandomMapping,
    SemanticMapping,
)
from lightning_transfer.models import SourceModel
from lightning_transfer.optim import ParamGroups, WarmupCosine
from lightning_transfer.prompts import FramePrompt, PaddingPrompt, PatchPrompt, PixelPrompt, ShrinkPrompt

Figures = dict[str, float]
IMAGENET, SIDE, BATCH = "tf_efficientnet_lite0", 64, 32
RATES = (0.01, 0.1)  # of values in [0, 1]


class Way(NamedTuple):
    """What is trained: a prompt and a mapping, or neither, and rates to choose from; no rate where all that learns is counted."""

    prompt: Callable[[], PixelPrompt] | None = None
    mapping: Callable[[], LabelMapping] | None = None
    rates: tuple[float, ...] = (0.0,)


WAYS = {
    "no prompt, first classes": Way(None, FirstMapping),
    "no prompt, random classes": Way(None, RandomMapping),
    "no prompt, frequency": Way(None, FrequencyMapping),
    "no prompt, iterative": Way(None, IterativeMapping),
    "no prompt, Bayesian": Way(None, BayesianMapping),
    "no prompt, Bayesian of the likeliest": Way(None, partial(BayesianMapping, top_k=0.15)),
    "no prompt, semantic": Way(None, SemanticMapping),
    "no prompt, linear": Way(None, LinearMapping, (0.001, 0.01)),
    "ring of 4": Way(partial(PaddingPrompt, 4), IterativeMapping, RATES),
    "ring of 10": Way(partial(PaddingPrompt, 10), IterativeMapping, RATES),
    "ring of 10, frequency": Way(partial(PaddingPrompt, 10), FrequencyMapping, RATES),
    "ring of 10, first classes": Way(partial(PaddingPrompt, 10), FirstMapping, RATES),
    "ring of 30": Way(partial(PaddingPrompt, 30), IterativeMapping, RATES),
    "patch of 16": Way(partial(PatchPrompt, 16), IterativeMapping, RATES),
    "single pixel": Way(partial(PatchPrompt, 1), IterativeMapping, RATES),
    "single pixel, first classes": Way(partial(PatchPrompt, 1), FirstMapping, RATES),
    "whole frame": Way(FramePrompt, IterativeMapping, RATES),
    "whole frame, first classes": Way(FramePrompt, FirstMapping, RATES),
    "whole frame, Bayesian": Way(FramePrompt, BayesianMapping, RATES),
    "shrunk to 48": Way(partial(ShrinkPrompt, 48, SIDE), IterativeMapping, RATES),
    "whole frame, linear": Way(FramePrompt, LinearMapping, (0.001, 0.01)),
    "linear probe": Way(rates=(0.003, 0.03)),
    "fine-tuning": Way(rates=(0.0003, 0.001)),
}
DATA: dict[str, Callable[..., ImageData]] = {
    "digits": DigitsData,
    "stamps": StampsData,
    "mnist": partial(TorchvisionData, "torchvision.datasets.MNIST", labels_per_class=100, val_fraction=0.02),
    "emoji": EmojiData,
}
SHIFTED = (
    "no prompt, frequency",
    "no prompt, linear",
    "ring of 10",
    "whole frame",
    "whole frame, linear",
    "linear probe",
    "fine-tuning",
)


def images(name: str, seed: int) -> ImageData:
    """Data whose training images vary a little, in ways that leave a digit one."""
    mild = partial(TrainTransform, scale=(0.7, 1.0), flip=0.5 if name in ("stamps", "emoji") else 0.0)
    whole = partial(EvalTransform, crop=1.0)
    further = {"test_sets": {"twitter": EmojiData(vendor="twitter", split_seed=seed)}} if name == "emoji" else {}
    return DATA[name](
        image_size=SIDE,
        batch_size=BATCH,
        cache=True,
        split_seed=seed,
        train_transform=mild,
        eval_transform=whole,
        **further,
    )


def module(name: str, way: Way, rate: float, seed: int, data: ImageData) -> Any:
    """What is trained and measured."""
    if way.mapping is None:
        optim = Optim(
            partial(AdamW, lr=rate), partial(WarmupCosine, warmup=0.1), ParamGroups(head_multiplier=1 if name == "linear probe" else 10)
        )  # fmt: skip
        edits: list[Any] = [FreezeBackbone()] if name == "linear probe" else []
        return FinetuneModule(TimmBackbone(IMAGENET, "packaged"), data.num_classes, optim, edits=edits)
    optim = Optim(partial(Adam, lr=rate), partial(WarmupCosine, warmup=0.1))
    prompt = way.prompt() if way.prompt else None
    mapping = RandomMapping(seed) if way.mapping is RandomMapping else way.mapping()
    return VisualPromptModule(
        SourceModel(IMAGENET, "packaged"), prompt, data.num_classes, mapping, optim,
        class_names=data.class_names, image_size=SIDE,
    )  # fmt: skip


def measure(data_name: str, name: str, rate: float, seed: int, steps: int, folder: Path) -> Figures:
    """Train, and measure the last step on validation and test."""
    seed_everything(seed, verbose=False)
    way, data = WAYS[name], images(data_name, seed)
    made = module(name, way, rate, seed, data)
    begin = time.perf_counter()
    # what is counted is counted before the first step; other mappings without a prompt have nothing to learn
    learns = way.prompt or way.mapping not in (FirstMapping, RandomMapping, SemanticMapping)
    whole = rate or way.mapping is IterativeMapping  # beside prompts whose mapping was fitted anew as often
    trainer = train(made, data, steps if whole else 1, folder) if learns else quiet_trainer(0)
    seconds = time.perf_counter() - begin
    (val,) = trainer.validate(made, data, verbose=False)
    test, *others = trainer.test(made, data, verbose=False)
    return {
        "val": val["val/accuracy"], "test": test["test/accuracy"], "ece": test["test/ece"], "seconds": seconds,
        "parameters": sum(p.numel() for p in made.parameters() if p.requires_grad), "rate": rate,
        **({"twitter": others[0]["twitter/accuracy"]} if others else {}),
    }  # fmt: skip


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy over trained parameters and over seconds of training, one row a data set."""
    from matplotlib.figure import Figure

    sets = list(dict.fromkeys(row["data"] for row in rows))
    figure = Figure(figsize=(11, 4.2 * len(sets)), layout="constrained")
    for axes, name in zip(figure.subplots(len(sets), 2, squeeze=False), sets, strict=True):
        for axis, key, label in zip(
            axes, ("parameters", "seconds"), ("trained parameters + 1", "seconds"), strict=True
        ):
            for i, row in enumerate(row for row in rows if row["data"] == name):
                x = row[key] + (key == "parameters")
                axis.errorbar(
                    x, row["accuracy"], row["deviation"], color=f"C{i % 10}", marker="os^"[i // 10], label=row["way"]
                )
            axis.set(xscale="log", xlabel=label, ylabel="test accuracy, %", title=name)
            axis.grid(alpha=0.3)
        axes[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120)


def main() -> None:
    """Fill the tables."""
    arguments = parser(__doc__)
    arguments.add_argument("data", nargs="*", choices=[*DATA, []])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=200)
    arguments.add_argument("--out", type=Path, default=Path("runs/prompting"))
    args = arguments.parse_args()
    silence()
    rows = []
    for data in args.data or DATA:
        for name, way in WAYS.items():
            if data == "emoji" and name not in SHIFTED:
                continue

            def run(seed: int, rate: float, data: str = data, name: str = name) -> Figures:
                folder = args.out / data / name.replace(" ", "_") / f"{rate:g}" / str(seed)
                found: Figures = once(folder, partial(measure, data, name, rate, seed, args.steps, folder))
                return found

            chosen = way.rates[0] if len(way.rates) == 1 else max(way.rates, key=lambda rate: run(0, rate)["val"])
            found = [run(seed, chosen) for seed in range(args.seeds)]
            accuracy, deviation = mean_and_deviation([100 * figures["test"] for figures in found])
            seconds, _ = mean_and_deviation([figures["seconds"] for figures in found])
            row = {"data": data, "way": name, "accuracy": accuracy, "deviation": deviation, "seconds": seconds}
            if data == "emoji":
                row["twitter"], row["twitter_deviation"] = mean_and_deviation([100 * f["twitter"] for f in found])
            rows.append(row | {"parameters": found[0]["parameters"], "rate": chosen})
            shifted = f"  Twitter {row['twitter']:5.1f} ± {row['twitter_deviation']:4.1f} %" if "twitter" in row else ""
            print(
                f"{data:<8} {name:<38} {accuracy:5.1f} ± {deviation:4.1f} %  {rows[-1]['parameters']:>10,}  {seconds:6.1f} s  "
                f"rate {chosen:g}{shifted}"
            )
    with (args.out / "prompting.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list({key: None for row in rows for key in row}))
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, args.out / "prompting.png")
    report({"seeds": args.seeds, "steps": args.steps, "rows": rows})


if __name__ == "__main__":
    main()
