"""Classes by their names, and what few images add: a CLIP from scratch on Google's emoji, asked about Twitter's drawings of other concepts.

usage: python scripts/bench/zero_shot.py [--seeds 3] [--epochs 40] [--steps 200] [--shots 1 2 4 8 16] [--out runs/zero_shot]
A ResNet-10 and a transformer of bytes learn from Google's drawings and their names, as `image_text/clip_emoji` does. Without training:
the nine categories by one template, by the name alone and by ten templates, and by the mean of the texts on the names that were trained on in it;
and how often a drawing finds its name among the test's. With
1 to 16 of Twitter's drawings of each category: CoOp, Tip-Adapter with and without training, and a linear probe before and behind the
projection. Test concepts are in no training. Steps and rates are fixed; what is chosen (alpha, beta, the probe's regularisation) is
chosen on all validation drawings, which are more than the shots. An interrupted run goes on where it was. Writes zero_shot.csv and
zero_shot.png, prints tables and, as its last line, one JSON object.
"""

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import once, parser, quiet_trainer, report, silence, train
from lightning.pytorch import seed_everything
from seeds import mean_and_deviation
from torch.nn.functional import normalize
from torch.optim import SGD, AdamW

from lightning_transfer import ImageTextModule, Optim, TimmBackbone, ZeroShotModule
from lightning_transfer.adapters import CoOp, ImageTextAdapter, TipAdapter
from lightning_transfer.backbones import ImageTextBackbone
from lightning_transfer.contracts import Embedded
from lightning_transfer.data import EmojiData, EvalTransform, TrainTransform
from lightning_transfer.features.extract import embed
from lightning_transfer.optim import WarmupCosine
from lightning_transfer.probes import LogisticProbe
from lightning_transfer.probes.selection import score
from lightning_transfer.text_towers import TransformerTower

Figures = dict[str, float]
SIDE = 64
CHANCE = "always the largest category"
ADAPTERS: dict[str, tuple[Callable[[int], ImageTextAdapter], Optim]] = {
    "CoOp": (
        lambda _: CoOp(16),
        Optim(partial(SGD, lr=0.002, momentum=0.9, weight_decay=5e-4), partial(WarmupCosine, warmup=0.05)),
    ),
    "CoOp from words": (
        lambda _: CoOp("a drawing of a"),
        Optim(partial(SGD, lr=0.002, momentum=0.9, weight_decay=5e-4), partial(WarmupCosine, warmup=0.05)),
    ),
    "Tip-Adapter": (lambda shots: TipAdapter(shots), Optim(partial(SGD, lr=0.0))),
    "Tip-Adapter-F": (
        lambda shots: TipAdapter(shots, train_keys=True),
        Optim(partial(AdamW, lr=0.001, eps=1e-4), partial(WarmupCosine, warmup=0.05)),
    ),
}
PROBES = {"probe behind the projection": True, "probe before the projection": False}


def images(vendor: str, seed: int, shots: int | None = None, batch_size: int = 32) -> EmojiData:
    return EmojiData(
        vendor=vendor, image_size=SIDE, batch_size=batch_size, cache=True, split_seed=seed, labels_per_class=shots,
        train_transform=partial(TrainTransform, scale=(0.6, 1.0), flip=0.0), eval_transform=partial(EvalTransform, crop=1.0),
    )  # fmt: skip


def pretrain(seed: int, epochs: int, folder: Path) -> Figures:
    """Train both towers on Google's drawings, and let Twitter's look for their names."""
    seed_everything(seed, verbose=False)
    data = images("google", seed, batch_size=128)
    data.setup("fit")
    tower = TransformerTower(width=128, depth=4, heads=4, context_length=96, dropout=0.1)
    optim = Optim(partial(AdamW, lr=1e-3, weight_decay=0.2, betas=(0.9, 0.98)), partial(WarmupCosine, warmup=0.1))
    module = ImageTextModule(TimmBackbone("resnet10t", pretrained=False), tower, 128, optim=optim, image_size=SIDE)
    steps = epochs * max(1, len(data.train_set) // 128)
    trainer = train(module, data, steps, folder, gradient_clip_val=1.0)
    (found,) = trainer.test(module, images("twitter", seed, batch_size=128), verbose=False)
    return {key.removeprefix("test/"): value for key, value in found.items()}


def ask(seed: int, model: Path, templates: str) -> Figures:
    """Accuracy by names, without training."""
    data = images("twitter", seed)
    module = ZeroShotModule(str(model), templates=templates, class_names=data.class_names)
    trainer = quiet_trainer(0)
    (val,) = trainer.validate(module, data, verbose=False)
    (test,) = trainer.test(module, data, verbose=False)
    return {"val": val["val/accuracy"], "test": test["test/accuracy"]}


def ask_by_names(seed: int, model: Path) -> Figures:
    """Accuracy where a category is the mean of the texts on the names of Google's training drawings in it."""
    known = ImageTextModule.load_from_checkpoint(model, map_location="cpu").model.eval()
    seen = images("google", seed).splits()["train"]
    twitter, figures = images("twitter", seed), {}
    with torch.no_grad():
        names = known.encode_text(list(seen.captions or []))
        categories = torch.stack([names[seen.targets == k].mean(dim=0) for k in range(twitter.num_classes)])
        for split in ("val", "test"):
            pairs = [
                (known.encode_image(batch.image), batch.target)
                for batch in twitter.ordered_dataloader(twitter.splits()[split])
            ]
            vectors, targets = map(torch.cat, zip(*pairs, strict=True))
            figures[split] = score(vectors @ normalize(categories, dim=1).T, targets)
    return figures


def largest(seed: int) -> Figures:
    """Accuracy of whoever always says the category of most training drawings."""
    data = images("twitter", seed)
    most = int(data.class_counts.argmax())
    return {split: float((data.splits()[split].targets == most).double().mean()) for split in ("val", "test")}


def adapt(seed: int, model: Path, name: str, shots: int, steps: int, folder: Path) -> Figures:
    """Accuracy with an adapter that saw few drawings."""
    seed_everything(seed, verbose=False)
    make, optim = ADAPTERS[name]
    data, adapter = images("twitter", seed, shots), make(shots)
    module = ZeroShotModule(
        str(model), class_names=data.class_names, adapter=adapter, optim=optim,
        templates="drawings" if adapter.reads_templates else None,
    )  # fmt: skip
    trained = any(p.requires_grad for p in module.parameters())
    trainer = train(module, data, steps if trained else 1, folder)
    if trained:  # where training breaks off within an epoch nothing was chosen for the last step
        adapter.choose(module.model.image_text)
    (val,) = trainer.validate(module, data, verbose=False)
    (test,) = trainer.test(module, data, verbose=False)
    return {"val": val["val/accuracy"], "test": test["test/accuracy"]}


def probe(seed: int, model: Path, projected: bool, shots: int) -> Figures:
    """Accuracy of a linear probe on the image tower."""
    data, backbone = images("twitter", seed, shots), ImageTextBackbone(str(model), projected)
    seen = {}
    for split, source in data.splits().items():
        pairs = [(vectors, batch.target) for vectors, batch in embed(backbone, data, source)]
        seen[split] = Embedded(*map(torch.cat, zip(*pairs, strict=True)))
    head = LogisticProbe().fit(seen["train"], seen["val"], data.num_classes).head
    with torch.no_grad():
        return {split: score(head(seen[split].embedding), seen[split].target) for split in ("val", "test")}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy over shots, and lines for what needs none."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    shots = sorted({row["shots"] for row in rows if row["shots"]})
    for i, way in enumerate(dict.fromkeys(row["way"] for row in rows)):
        own = [row for row in rows if row["way"] == way]
        accuracy, deviation = ([row[key] for row in own] for key in ("accuracy", "deviation"))
        if own[0]["shots"]:
            axes.errorbar([row["shots"] for row in own], accuracy, deviation, color=f"C{i % 10}", marker="o", label=way)
        else:
            axes.axhline(accuracy[0], color=f"C{i % 10}", linestyle="--", label=way)
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, shots)
    axes.set(xlabel="drawings of each category", ylabel="accuracy on Twitter's drawings, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120)


def main() -> None:
    """Fill the tables."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--epochs", type=int, default=40)
    arguments.add_argument("--steps", type=int, default=200)
    arguments.add_argument("--shots", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    arguments.add_argument("--out", type=Path, default=Path("runs/zero_shot"))
    args = arguments.parse_args()
    silence()
    seeds = range(args.seeds)
    models = {seed: args.out / "clip" / str(seed) for seed in seeds}
    found = [once(models[seed], partial(pretrain, seed, args.epochs, models[seed])) for seed in seeds]
    for key in ("image_to_text_r1", "image_to_text_r5", "chance_r1"):
        mean, deviation = mean_and_deviation([100 * figures[key] for figures in found])
        print(f"names among the test's, {key:<20} {mean:5.1f} ± {deviation:4.1f} %")
    rows: list[dict[str, Any]] = []

    def measured(way: str, shots: int, measure: Callable[[int, Path, Path], Figures]) -> None:
        figures = []
        for seed in seeds:
            folder = args.out / way.replace(" ", "_") / str(shots) / str(seed)
            figures.append(once(folder, partial(measure, seed, models[seed] / "model.ckpt", folder)))
        accuracy, deviation = mean_and_deviation([100 * each["test"] for each in figures])
        rows.append({"way": way, "shots": shots, "accuracy": accuracy, "deviation": deviation})
        print(f"{way:<32} {shots:>3} shots {accuracy:5.1f} ± {deviation:4.1f} %")

    measured(CHANCE, 0, lambda seed, *_: largest(seed))
    for templates in ("name", "single", "drawings"):
        measured(f"zero-shot, {templates}", 0, lambda seed, model, _, t=templates: ask(seed, model, t))  # type: ignore[misc]
    measured("zero-shot, by training names", 0, lambda seed, model, _: ask_by_names(seed, model))
    for shots in args.shots:
        for name in ADAPTERS:
            measured(name, shots, lambda s, model, to, n=name, k=shots: adapt(s, model, n, k, args.steps, to))  # type: ignore[misc]
        for name, projected in PROBES.items():
            measured(name, shots, lambda s, model, _, p=projected, k=shots: probe(s, model, p, k))  # type: ignore[misc]
    with (args.out / "zero_shot.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, args.out / "zero_shot.png")
    report({"seeds": args.seeds, "epochs": args.epochs, "steps": args.steps, "rows": rows})


if __name__ == "__main__":
    main()
