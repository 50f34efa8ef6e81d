"""Ways to distil a fine-tuned EfficientNet-Lite0 into a small network from scratch: test accuracy over seeds.

usage: python scripts/bench/distill.py stamps|digits [--seeds 3] [--epochs N] [--out runs/distill]
Teachers and students are trained by the configurations of `finetune` and `distill`; the rows say what differs. On stamps a seed drives
the students' training, on one split and with one teacher (of five, which the ensemble has all); on digits also the split, the choice of
labels, and the teacher. Measured is the last epoch. Weights are the papers'; nothing was chosen on this data.
An interrupted run goes on where it was. Students of seed 0 are compared with their teacher in DATA/agreement. Writes DATA.csv, prints a
table and, as its last line, one JSON object.
"""

import csv
import io
import json
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from common import once, parser, report, silence
from seeds import QUIET, mean_and_deviation


def loss(name: str, **arguments: Any) -> dict[str, Any]:
    """One of `losses.distill` as the command line takes it."""
    return {"class_path": f"lightning_transfer.losses.distill.{name}", "init_args": arguments}


def losses(**weighted: tuple[float, dict[str, Any]]) -> list[str]:
    """Flags that put losses and weights in place of those of `distill/dkd`."""
    made = {name: of for name, (_, of) in weighted.items()}
    weights = {name: weight for name, (weight, _) in weighted.items()}
    return ["--config", "distill/dkd", f"--model.losses={json.dumps(made)}", f"--model.weights={json.dumps(weights)}",
            "--model.warmup_epochs=0"]  # fmt: skip


SOFT = loss("SoftTargetKL", temperature=4.0)
DEEP = ["backbone.model.blocks.2", "backbone.model.blocks.4"]
ATTENTION = loss("AttentionTransfer", student_layers=DEEP, teacher_layers=DEEP)
CRD = loss("CRD", negatives=512)  # of some 700 images
LABELS = loss("Labels")
KD = losses(labels=(0.1, LABELS), soft=(0.9, SOFT))
MIXUP = ["--model.mixing=lightning_transfer.mixing.Mixup", "--model.mixing.alpha=1.0"]
SCRATCH = ["--model.backbone.name=lcnet_050", "--model.backbone.pretrained=false", "--model.optim.optimizer.lr=0.002"]
PLAIN = [*SCRATCH, "--model.optim.groups.head_multiplier=1"]
PATIENT = [
    "--model.optim.optimizer.lr=0.003",
    "--model.optim.optimizer.weight_decay=0.0003",
    "--trainer.max_epochs=300",
    "--trainer.gradient_clip_val=1.0",
]  # as in distill/patient
STAMPS = ["--config", "finetune/stamps", "--data.image_size=64", "--model.class_weights=none", *PLAIN]
FEW = [
    "--data.fraction=0.03",
    "--trainer.max_epochs=1200",
]  # one step an epoch, of which 60 epochs with all images have 20
TEACHERS = {
    "stamps": ["--config", "finetune/stamps", "--data.image_size=64"],
    "digits": ["--config", "finetune/digits"],
}
WAYS = {
    "stamps": {
        "plain": [*STAMPS, "--trainer.max_epochs=60"],
        "KD": KD,
        "KD of five": ["--config", "distill/ensemble"],
        "FitNet": ["--config", "distill/feature"],
        "AT": losses(labels=(1.0, LABELS), attention=(1000.0, ATTENTION)),
        "CRD": ["--config", "distill/crd"],
        "CRD and KD": losses(labels=(1.0, LABELS), soft=(1.0, SOFT), crd=(0.8, CRD)),
        "DKD": ["--config", "distill/dkd"],
        "KD, mixup": [*KD, *MIXUP],
        "plain, 3 %": [*STAMPS, *FEW],
        "KD, 3 %": [*KD, *FEW],
    },
    "digits": {
        "plain": ["--config", "finetune/digits", *PLAIN, "--trainer.max_epochs=100"],
        "KD": ["--config", "distill/hinton"],
        "KD, cached": ["--config", "distill/cached"],
        "patient": ["--config", "distill/patient"],
        "plain, patient": ["--config", "finetune/digits", *PLAIN, *PATIENT, *MIXUP],
    },
}  # fmt: skip
ENSEMBLE = 5


def train(flags: list[str], seed: int, split: int, folder: Path) -> dict[str, float]:
    """Train, write the last epoch as best.ckpt, and test it."""
    from lightning_transfer.cli import TransferCLI

    without = ["--trainer.check_val_every_n_epoch=100000", "--trainer.num_sanity_val_steps=0", "--trainer.logger=false",
               "--trainer.enable_checkpointing=false", "--early_stopping.patience=1000", *QUIET]  # fmt: skip
    seeds = [f"--seed_everything={seed}", f"--data.split_seed={split}", f"--trainer.default_root_dir={folder}"]
    cli = TransferCLI(["fit", *flags, *without, *seeds])
    cli.trainer.save_checkpoint(folder / "best.ckpt", weights_only=True)
    (test,) = cli.trainer.test(cli.model, cli.datamodule, verbose=False)
    return {"accuracy": test["test/accuracy"], "ece": test["test/ece"]}


def taught_by(paths: list[Path], way: str, root: Path) -> list[str]:
    """Flags that name the teacher; five would be asked five times a step, so their answers are kept."""
    kind = "lightning_transfer.teachers.{}"
    each = [{"class_path": kind.format("CheckpointTeacher"), "init_args": {"path": str(path)}} for path in paths]
    if way.startswith("plain"):
        return []
    teacher: dict[str, Any] = each[0]
    if way == "KD of five":
        teacher = {"class_path": kind.format("Ensemble"), "init_args": {"teachers": each}}
    versions = {"KD of five": ["--data.augmentations=20"], "KD, cached": []}  # or as many as the configuration says
    if way in versions:
        folder = str(root / "answers" / paths[0].parent.name)
        arguments = {"teacher": teacher, "folder": folder, "precision": 16 if way == "KD of five" else 32}
        teacher = {"class_path": kind.format("CachedTeacher"), "init_args": arguments}
    return [f"--model.teacher={json.dumps(teacher)}", *versions.get(way, [])]


def compare(teacher: Path, students: dict[str, Path], out: Path) -> dict[str, dict[str, float]]:
    """Agreement with the teacher on test images, and the mean size of the differences between classes' logits."""
    from lightning_transfer.commands.agreement import agreement

    with redirect_stdout(io.StringIO()):
        agreement(str(teacher / "best.ckpt"), [str(home / "best.ckpt") for home in students.values()], out=str(out))
    with (out / "agreement.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    named = {"agreement": "agreement", "correlation": "correlation_mean", "class_means": "class_means_mean"}
    return {
        way: {name: float(row[column]) for name, column in named.items()}
        for way, row in zip(students, rows, strict=True)
    }


def main() -> None:
    """Train the teachers, then the students."""
    arguments = parser(__doc__)
    arguments.add_argument("data", choices=WAYS)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--epochs", type=int, help="of the students, if not the configurations'")
    arguments.add_argument("--out", type=Path, default=Path("runs/distill"))
    args = arguments.parse_args()
    silence()
    root = args.out / args.data
    of_split = args.data == "digits"  # a seed's own teacher
    count = args.seeds if of_split else ENSEMBLE
    homes = [root / "teacher" / str(seed) for seed in range(count)]
    taught = [
        once(home, partial(train, TEACHERS[args.data], seed, seed if of_split else 0, home))
        for seed, home in enumerate(homes)
    ]
    found = {"teacher": taught[: args.seeds if of_split else 1]}
    for way, flags in WAYS[args.data].items():
        found[way] = []
        for seed in range(args.seeds):
            home = root / way.replace(" ", "_") / str(seed)
            ckpts = [path / "best.ckpt" for path in ([homes[seed]] if of_split else homes)]
            length = [f"--trainer.max_epochs={args.epochs}"] if args.epochs else []
            whole = [*flags, *taught_by(ckpts, way, root), *length]
            found[way].append(once(home, partial(train, whole, seed, seed if of_split else 0, home)))
    compared = compare(
        homes[0], {way: root / way.replace(" ", "_") / "0" for way in WAYS[args.data]}, root / "agreement"
    )
    rows = []
    for way, figures in found.items():
        accuracy, deviation = mean_and_deviation([100 * figure["accuracy"] for figure in figures])
        ece, _ = mean_and_deviation([100 * figure["ece"] for figure in figures])
        rows.append({"way": way, "accuracy": accuracy, "deviation": deviation, "ece": ece, **compared.get(way, {})})
        further = "".join(f"  {key} {value:.3f}" for key, value in compared.get(way, {}).items())
        print(f"{way:<16} {accuracy:5.1f} ± {deviation:4.1f} %  ECE {ece:4.1f}{further}")
    with (args.out / f"{args.data}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)
    report({"data": args.data, "seeds": args.seeds, "rows": rows})


if __name__ == "__main__":
    main()
