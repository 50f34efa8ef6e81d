"""Ways to adapt a network to few labels: test accuracy over seeds, each way's rate chosen on validation.

usage: python scripts/bench/adaptation.py digits|stamps|mnist|emoji [--seeds 3] [--labels 1 10 all] [--out runs/adaptation]
A seed drives training, splits and the choice of labels. Of three rates the one with the best validation accuracy of seed 0 is
taken, the least of equals; a probe's strength, WiSE-FT's alpha and a soup's ingredients are chosen on validation for each seed.
Trainings have a fixed number of steps and are measured at their end. An interrupted run goes on where it was. `emoji` trains on
Google's drawings and tests on Google's and Twitter's of concepts held out.
Writes DATA.csv and DATA.png, prints a table and, as its last line, one JSON object.
"""

import csv
from pathlib import Path
from typing import Any, NamedTuple

from common import once, parser, report, silence
from seeds import QUIET, mean_and_deviation

Figures = dict[str, float]


class Way(NamedTuple):
    """Flags of `fit` beside those of the data, and the rates that validation chooses from."""

    flags: list[str]
    rates: tuple[float, ...] = (0.0003, 0.001, 0.003)


class Cell(NamedTuple):
    """What is adapted to: the data and the length of a training."""

    config: str
    flags: list[str]
    steps: int
    batch: int


HEAD = "--model.optim.groups.head_multiplier={}"
DECAY = "--model.optim.optimizer.weight_decay=0"
EDIT, PHASES = "--model.edits+=lightning_transfer.edits.{}", "--trainer.callbacks+=lightning_transfer.callbacks.Phases"
FROM_PROBE = [EDIT.format("StartFrom"), "--model.edits.ckpt_path=PROBE", "--model.edits.parameters=.", HEAD.format(1)]
# a probe is fitted on features by the source's statistics; with these held, a step too far is not normalised away
HELD = [EDIT.format("HoldStatistics"), "--trainer.gradient_clip_val=1.0"]
SLOW = (0.0001, 0.0003, 0.001)
WAYS = {
    "from scratch": Way(["--model.backbone.pretrained=false"]),
    "full": Way([]),
    "gradual": Way([PHASES, "--trainer.callbacks.phases=gradual", "--trainer.callbacks.unit=step", "--trainer.callbacks.length=4"]),
    "LP-FT": Way([*FROM_PROBE, *HELD], SLOW),
    "L2-SP": Way(["--model.penalties+=lightning_transfer.penalties.L2SP", DECAY]),
    "BitFit": Way([EDIT.format("BitFit"), DECAY, HEAD.format(3)], (0.001, 0.003, 0.01)),
    "LoRA": Way([EDIT.format("LoRA"), DECAY, HEAD.format(3)], (0.001, 0.003, 0.01)),
    "full, held": Way(HELD, SLOW),
    "LP-FT, not held": Way(FROM_PROBE),
}  # fmt: skip
SHORT = ("full", "LP-FT")
CONFIGS = {
    "digits": ("finetune/digits", ()),
    "stamps": ("finetune/stamps", ("--data.image_size=64", "--model.class_weights=none")),
    "mnist": ("finetune/mnist", ("--data.image_size=32",)),
    "emoji": ("finetune/emoji", ()),
}
TITLES = {"1": "1 label a class", "10": "10 labels a class", "100": "100 labels a class", "all": "all labels"}
LABELS = {"digits": ("1", "10", "100", "all"), "stamps": ("1", "10", "all"), "mnist": ("1", "10", "100", "all")}


def cell(data: str, labels: str) -> Cell:
    """Data of one column of the table, and a training's length: longer where there are more labels."""
    config, flags = CONFIGS[data]
    steps, batch = (
        (120, 25) if labels in ("1", "10") else (200, 64) if (data, labels) == ("mnist", "all") else (240, 32)
    )
    few = f"--data.labels_per_class={'null' if labels == 'all' else labels}"
    return Cell(config, [*flags, few], steps, batch)


def ways(data: str, labels: str) -> list[str]:
    """All ways for few labels, four for many."""
    return [*WAYS] if data in ("digits", "stamps") and labels in ("1", "10") else [*SHORT]


def train(place: Cell, way: str, rate: float, seed: int, folder: Path, probe: Path) -> Figures:
    """Train, write the last step as model.ckpt, and measure it on validation and test."""
    from lightning_transfer.cli import TransferCLI

    flags = [flag.replace("PROBE", str(probe)) for flag in WAYS[way].flags]
    length = [f"--trainer.max_steps={place.steps}", "--trainer.max_epochs=-1", f"--data.batch_size={place.batch}"]
    without = ["--trainer.check_val_every_n_epoch=100000", "--trainer.num_sanity_val_steps=0",
               "--trainer.enable_checkpointing=false", *QUIET]  # fmt: skip
    seeds = [f"--seed_everything={seed}", f"--data.split_seed={seed}", f"--trainer.default_root_dir={folder}"]
    rates = [f"--model.optim.optimizer.lr={rate}"]
    cli = TransferCLI(["fit", "--config", place.config, *place.flags, *rates, *flags, *length, *without, *seeds])
    cli.trainer.save_checkpoint(folder / "model.ckpt", weights_only=True)
    (val,) = cli.trainer.validate(cli.model, cli.datamodule, verbose=False)
    (test,) = cli.trainer.test(cli.model, cli.datamodule, verbose=False)
    figures = {"val": val["val/accuracy"], "test": test["test/accuracy"], "ece": test["test/ece"]}
    return figures | _shifted(folder / "model.ckpt", seed, place)


def _shifted(ckpt: Path, seed: int, place: Cell) -> Figures:
    """Accuracy on Twitter's drawings of the emoji held out."""
    from lightning_transfer.merging import Evaluator, read_models

    if place.config != "finetune/emoji":
        return {}
    found = Evaluator(str(ckpt), test_sets=_twitter(seed)).test(read_models([str(ckpt)])[str(ckpt)])
    return {"twitter": found["twitter/accuracy"]}


def _twitter(seed: int) -> dict[str, Any]:
    from lightning_transfer.data import EmojiData

    return {"twitter": EmojiData(test_vendor="twitter", split_seed=seed)}


def probes(place: Cell, seed: int, folder: Path) -> dict[str, Figures]:
    """Logistic regression and nearest neighbours on features computed once; the former is written as probe.ckpt."""
    from lightning_transfer.cli import TransferCLI
    from lightning_transfer.commands.probe import probe
    from lightning_transfer.probes import KnnProbe, LogisticProbe

    flags = [*place.flags, f"--data.split_seed={seed}", f"--trainer.default_root_dir={folder}", *QUIET]
    cli = TransferCLI(["fit", "--config", place.config, *flags, "--trainer.max_steps=0", "--trainer.logger=false"])
    kinds = [LogisticProbe(), KnnProbe(k=(1, 5, 10, 20, 50))]
    rows = probe(
        cli.datamodule,
        cli.model.model.backbone,
        probes=kinds,
        cache=str(folder.parent.parent / "features"),
        out=str(folder),
    )
    named = zip(("probe", "kNN"), rows, strict=True)
    figures = {
        way: {"val": row["val/accuracy"], "test": row["test/accuracy"], "ece": row["test/ece"]} for way, row in named
    }
    figures["probe"] |= _shifted(folder / "probe.ckpt", seed, place)
    return figures


def soup(ckpts: list[Path]) -> Figures:
    """Greedy soup of one seed's full trainings at all rates."""
    from lightning_transfer.merging import Evaluator, greedy_soup, read_models

    evaluator = Evaluator(str(ckpts[0]))
    made = greedy_soup(read_models([*map(str, ckpts)]), evaluator.score, evaluator.with_batch_norm)
    test = evaluator.test(made.weights)
    kept = sum(trial.kept for trial in made.trials)
    return {"val": made.score, "test": test["test/accuracy"], "ece": test["test/ece"], "kept": kept}


def wise_ft(source: Path, tuned: Path, seed: int, emoji: bool) -> dict[str, Any]:
    """From the probe to what was fine-tuned from it; alpha is the best on validation, the least of equals."""
    from lightning_transfer.merging import Evaluator, interpolate, read_models

    evaluator = Evaluator(str(tuned), test_sets=_twitter(seed) if emoji else None)
    models = read_models([str(source), str(tuned)])
    curve = []
    for step in range(11):
        merged = interpolate(models[str(source)], models[str(tuned)], step / 10)
        point = {"alpha": step / 10, "val": evaluator.score(merged)}
        if emoji or not curve or point["val"] > max(other["val"] for other in curve):  # others could not be chosen
            test = evaluator.test(merged)
            point |= {"test": test["test/accuracy"], "ece": test["test/ece"]}
            point |= {"twitter": test["twitter/accuracy"]} if emoji else {}
        curve.append(point)
    best = max(curve, key=lambda point: point["val"])
    return {**best, "curve": curve}


def column(data: str, labels: str, seeds: int, out: Path) -> dict[str, list[Figures]]:
    """All ways for one number of labels: a list of figures, one a seed, for each way."""
    place, found = cell(data, labels), {}
    root = out / data / labels
    of_probes = [
        once(root / "probe" / str(s), lambda s=s: probes(place, s, root / "probe" / str(s))) for s in range(seeds)
    ]
    for way in ("probe", "kNN"):
        found[way] = [figures[way] for figures in of_probes]
    chosen: dict[str, float] = {}

    def run(way: str, rate: float, seed: int) -> Figures:
        folder = root / way.replace(" ", "_") / f"{rate:g}" / str(seed)
        result: Figures = once(
            folder, lambda: train(place, way, rate, seed, folder, root / "probe" / str(seed) / "probe.ckpt")
        )
        return result

    for way in ways(data, labels) if data != "emoji" else SHORT:
        chosen[way] = max(WAYS[way].rates, key=lambda rate: run(way, rate, 0)["val"])
        found[way] = [run(way, chosen[way], seed) | {"rate": chosen[way]} for seed in range(seeds)]
    if data == "emoji" or "gradual" in chosen:
        found["WiSE-FT"] = [
            once(root / "WiSE-FT" / str(s), lambda s=s: wise_ft(
                root / "probe" / str(s) / "probe.ckpt", root / "LP-FT" / f"{chosen['LP-FT']:g}" / str(s) / "model.ckpt", s, data == "emoji"
            )) for s in range(seeds)
        ]  # fmt: skip
    if "gradual" in chosen:
        for seed in range(seeds):
            for rate in WAYS["full"].rates:
                run("full", rate, seed)
        ckpts = [[root / "full" / f"{r:g}" / str(s) / "model.ckpt" for r in WAYS["full"].rates] for s in range(seeds)]
        found["soup"] = [once(root / "soup" / str(s), lambda s=s: soup(ckpts[s])) for s in range(seeds)]
    return found


def draw(rows: list[dict[str, Any]], curves: list[list[Figures]], path: Path) -> None:
    """Accuracy of each way with its deviation over seeds, one panel a column; for emoji the curve over alpha beside it."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(row["column"] for row in rows))
    figure = Figure(figsize=(3.4 * (len(panels) + bool(curves)), 4), layout="constrained")
    axes = figure.subplots(1, len(panels) + bool(curves), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=False):
        shown = [row for row in rows if row["column"] == panel][::-1]
        axis.errorbar(
            [row["accuracy"] for row in shown],
            [row["way"] for row in shown],
            xerr=[row["deviation"] for row in shown],
            fmt="o",
        )
        axis.set_title(panel)
        axis.set_xlabel("test accuracy, %")
        axis.grid(alpha=0.3)
    for name, label in (("test", "Google"), ("twitter", "Twitter"), ("val", "validation")) if curves else ():
        values = [[100 * curve[i][name] for curve in curves] for i in range(len(curves[0]))]
        means, deviations = zip(*map(mean_and_deviation, values), strict=True)
        axes[-1].errorbar(
            [point["alpha"] for point in curves[0]], means, yerr=deviations, marker="o", markersize=3, label=label
        )
    if curves:
        axes[-1].set(title="WiSE-FT", xlabel="alpha: 0 is the probe, 1 is LP-FT", ylabel="accuracy, %")
        axes[-1].grid(alpha=0.3)
        axes[-1].legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Fill one table."""
    arguments = parser(__doc__)
    arguments.add_argument("data", choices=CONFIGS)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--labels", nargs="+", choices=("1", "10", "100", "all"))
    arguments.add_argument("--out", type=Path, default=Path("runs/adaptation"))
    args = arguments.parse_args()
    silence()
    rows, curves = [], []
    for labels in args.labels or LABELS.get(args.data, ("all",)):
        found = column(args.data, labels, args.seeds, args.out)
        if args.data == "emoji":
            curves = [figures["curve"] for figures in found["WiSE-FT"]]
        for way, of_seeds in found.items():
            for name, title in (("test", TITLES[labels]), ("twitter", "Twitter")):
                if all(name in figures for figures in of_seeds):
                    title = {"test": "Google", "twitter": "Twitter"}[name] if args.data == "emoji" else title
                    mean, deviation = mean_and_deviation([100 * figures[name] for figures in of_seeds])
                    ece = mean_and_deviation([100 * figures["ece"] for figures in of_seeds])[0]
                    detail = {
                        key: [f[key] for f in of_seeds] for key in ("rate", "alpha", "kept") if key in of_seeds[0]
                    }
                    rows.append(
                        {
                            "column": title,
                            "way": way,
                            "accuracy": mean,
                            "deviation": deviation,
                            "ece": ece,
                            "chosen": detail,
                        }
                    )
    with (args.out / f"{args.data}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, curves, args.out / f"{args.data}.png")
    for row in rows:
        print(
            f"{row['column']:<20} {row['way']:<14} {row['accuracy']:5.1f} ± {row['deviation']:4.1f} %  ECE {row['ece']:4.1f}  {row['chosen']}"
        )
    report({"data": args.data, "seeds": args.seeds, "rows": rows})


if __name__ == "__main__":
    main()
