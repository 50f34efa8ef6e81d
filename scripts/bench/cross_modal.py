"""What a network of one modality learns from a teacher of another, without labels, and what few labels make of it then.

usage: python scripts/bench/cross_modal.py [digits edges emoji stamps] [--seeds 3] [--out runs/cross_modal]
digits: spoken digits from a teacher of MNIST's pictures (100 labels a class), by pairs alone: as it is, on voices never heard; by a
linear probe with few labels beside one on random features; and trainings with the same labels, and with all.
edges: edges of stamps from ImageNet's network, which sees the colours: fine-tuned with few labels from random, from ImageNet's
and from these weights.
emoji: Twitter's drawings from a teacher of Google's drawings of the same concepts, without labels; tested on concepts held out.
stamps: categories by a spoken description in French, by labels, by a teacher of the pictures, and by both.
A seed drives training, splits and the choice of labels; of two rates, and of a probe's strengths, the one with the best accuracy on
validation is taken (of rates for seed 0, the least of equals), and nothing else is chosen. Trainings have a fixed number of steps and are
measured at their end. An interrupted run goes on where it was. Prints a table and, as its last line, one JSON object.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from common import once, parser, quiet_trainer, report, silence, train
from lightning.pytorch import seed_everything
from seeds import mean_and_deviation
from torch.optim import AdamW

from lightning_transfer import DistillModule, FinetuneModule, Optim, TimmBackbone
from lightning_transfer.contracts import DistillLoss
from lightning_transfer.data import (
    EmojiData,
    EvalTransform,
    ImageData,
    SpokenDigitsData,
    SpokenStampsData,
    StampsData,
    TorchvisionData,
)
from lightning_transfer.data.modalities import Edges
from lightning_transfer.edits import StartFrom
from lightning_transfer.features import cached_features
from lightning_transfer.losses.distill import FeatureRegression, Labels, SoftTargetKL
from lightning_transfer.metrics import usual_metrics
from lightning_transfer.optim import ParamGroups, WarmupCosine
from lightning_transfer.probes import LogisticProbe
from lightning_transfer.teachers import CheckpointTeacher, Teacher, TimmTeacher

Figures = dict[str, float]
Table = dict[str, list[Figures]]
LABELS = (1, 2, 5, 10, 20)
IMAGENET = "tf_efficientnet_lite0"


def optim(rate: float, head: float = 1.0) -> Optim:
    """As in the configurations."""
    return Optim(
        partial(AdamW, lr=rate, weight_decay=0.05), partial(WarmupCosine, warmup=0.1), ParamGroups(head_multiplier=head)
    )


def fit(module: Any, data: ImageData, steps: int, folder: Path) -> Figures:
    """Train, write the last step as model.ckpt, and measure it on validation and test."""
    return measured(train(module, data, steps, folder), module, data)


def measured(trainer: Any, module: Any, data: ImageData) -> Figures:
    """Accuracy on validation and test."""
    (val,) = trainer.validate(module, data, verbose=False)
    (test,) = trainer.test(module, data, verbose=False)
    return {"val": val["val/accuracy"], "test": test["test/accuracy"], "macro": test["test/accuracy_macro"]}


def listener(name: str = "lcnet_050") -> TimmBackbone:
    """The network that is trained on sound, from random weights."""
    return TimmBackbone(name, pretrained=False)


def over_seeds(
    folder: Path, seeds: int, measure: Callable[[int, float, Path], Figures], rates: Sequence[float]
) -> list[Figures]:
    """Figures of all seeds at the rate that is best on validation of the first."""

    def run(seed: int, rate: float) -> Figures:
        place = folder / f"{rate:g}" / str(seed)

        def measured() -> Figures:
            seed_everything(seed, verbose=False)
            return measure(seed, rate, place) | {"rate": rate}

        found: Figures = once(place, measured)
        return found

    chosen = max(sorted(rates), key=lambda rate: run(0, rate)["val"])
    return [run(seed, chosen) for seed in range(seeds)]


def distilled(
    backbone: TimmBackbone, teacher: Teacher, data: ImageData, losses: dict[str, DistillLoss], optimisation: Optim,
    modality: str = "picture",
) -> DistillModule:  # fmt: skip
    """A student whose teacher sees another modality."""
    return DistillModule(
        backbone,
        teacher,
        data.num_classes,
        losses,
        teacher_modality=modality,
        optim=optimisation,
        image_size=data.image_size,
    )


def of_few(labels: int | None, seed: int) -> dict[str, Any]:
    return {"labels_per_class": labels, "split_seed": seed}


def digits(seeds: int, out: Path) -> Table:
    """Spoken digits."""
    pictures = partial(
        TorchvisionData, "torchvision.datasets.MNIST", image_size=32, eval_transform=partial(EvalTransform, crop=1.0)
    )
    spoken = partial(SpokenDigitsData, image_size=64, batch_size=32, cache=True)

    def teacher() -> Figures:
        seed_everything(0, verbose=False)
        data = pictures(
            labels_per_class=100, val_fraction=0.01, cache=True, train_transform=partial(EvalTransform, crop=1.0)
        )
        return fit(
            FinetuneModule(TimmBackbone(IMAGENET, "packaged"), 10, optim(0.001, head=10)), data, 300, out / "teacher"
        )

    def listen(seed: int, rate: float, folder: Path) -> Figures:
        data = spoken(split_seed=seed, same_class={"picture": pictures(val_fraction=0.01)})
        of = CheckpointTeacher(out / "teacher" / "model.ckpt")
        return fit(distilled(listener(), of, data, {"soft": SoftTargetKL(1)}, optim(rate)), data, 33 * 40, folder)

    def supervised(seed: int, rate: float, folder: Path, labels: int | None) -> Figures:
        steps = 33 * 40 if labels is None else 250
        return fit(FinetuneModule(listener(), 10, optim(rate)), spoken(**of_few(labels, seed)), steps, folder)

    def probed(labels: int, seed: int, folder: Path | None) -> Figures:
        seed_everything(seed, verbose=False)
        data, backbone = spoken(**of_few(labels, seed)), listener()
        if folder is not None:
            backbone = DistillModule.load_from_checkpoint(folder / "model.ckpt").model.backbone
        return probe(backbone, data, out / "features")

    rates = (0.002, 0.005)
    table = {"teacher on its pictures": [once(out / "teacher", teacher)]}
    found = table["distilled without labels, as it is"] = over_seeds(out / "distilled", seeds, listen, rates)
    table["trained with all labels"] = over_seeds(out / "all", seeds, partial(supervised, labels=None), rates)
    students = [out / "distilled" / f"{figures['rate']:g}" / str(seed) for seed, figures in enumerate(found)]
    for labels in LABELS:
        for name, folders in (("random", [None] * seeds), ("distilled", students)):
            table[f"probe on {name} features, {labels} labels a class"] = [
                once(out / "probe" / name / str(labels) / str(s), partial(probed, labels, s, folder))
                for s, folder in enumerate(folders)
            ]
        table[f"trained with {labels} labels a class"] = over_seeds(
            out / str(labels), seeds, partial(supervised, labels=labels), rates
        )
    return table


def probe(backbone: TimmBackbone, data: ImageData, cache: Path) -> Figures:
    """A linear probe, whose strength validation chooses."""
    splits = {split: cached_features(backbone, data, split, cache) for split in ("train", "val", "test")}
    head = LogisticProbe().fit(splits["train"], splits["val"], data.num_classes).head
    figures = {}
    for split in ("val", "test"):
        metrics = usual_metrics(data.num_classes, "classification")
        with torch.inference_mode():
            metrics.update(head(splits[split].embedding), splits[split].target)
        found = metrics.compute()
        figures |= {split: float(found["accuracy"]), "macro": float(found["accuracy_macro"])}
    return figures


def edges(seeds: int, out: Path) -> Table:
    """Edges of stamps."""
    stamps = partial(StampsData, image_size=64, batch_size=32, cache=True, modality=Edges())

    def transfer(seed: int, rate: float, folder: Path) -> Figures:
        layers = ("blocks.4", "conv_head")
        loss = FeatureRegression(
            [f"backbone.model.{layer}" for layer in layers], [f"model.{layer}" for layer in layers]
        )
        data = stamps(split_seed=seed)
        student = distilled(
            TimmBackbone(IMAGENET, "packaged"), TimmTeacher(IMAGENET, "packaged"), data, {"features": loss}, optim(rate)
        )
        return fit(student, data, 20 * 10, folder)

    def tune(seed: int, rate: float, folder: Path, labels: int, start: str) -> Figures:
        backbone = TimmBackbone(IMAGENET, False if start == "random" else "packaged")
        edits: list[Any] = (
            [StartFrom(str(out / "transfer" / "0.001" / str(seed) / "model.ckpt"))] if start == "transferred" else []
        )
        data = stamps(**of_few(labels, seed))
        return fit(FinetuneModule(backbone, data.num_classes, optim(rate, head=10), edits=edits), data, 60, folder)

    over_seeds(out / "transfer", seeds, transfer, (0.001,))
    return {
        f"fine-tuned from {start} weights, {labels} labels a class": over_seeds(
            out / start / str(labels), seeds, partial(tune, labels=labels, start=start), (0.0003, 0.001)
        )
        for labels in (5, 10)
        for start in ("random", "ImageNet", "transferred")
    }


def emoji(seeds: int, out: Path) -> Table:
    """Twitter's emoji by Google's."""
    drawn = partial(EmojiData, image_size=64, batch_size=32, cache=True)
    steps = 240

    def supervised(seed: int, rate: float, folder: Path, vendor: Literal["google", "twitter"]) -> Figures:
        data = drawn(vendor=vendor, split_seed=seed)
        module = FinetuneModule(TimmBackbone(IMAGENET, "packaged"), data.num_classes, optim(rate, head=10))
        return fit(module, data, steps, folder)

    def as_it_is(seed: int) -> Figures:
        module = FinetuneModule.load_from_checkpoint(out / "teacher" / "0.001" / str(seed) / "model.ckpt")
        return measured(quiet_trainer(0), module, drawn(vendor="twitter", split_seed=seed))

    def follow(seed: int, rate: float, folder: Path) -> Figures:
        data = drawn(vendor="twitter", beside="google", split_seed=seed)
        of = CheckpointTeacher(out / "teacher" / "0.001" / str(seed) / "model.ckpt")
        losses: dict[str, DistillLoss] = {"soft": SoftTargetKL(1)}
        backbone = TimmBackbone(IMAGENET, "packaged")
        return fit(distilled(backbone, of, data, losses, optim(rate, head=10), "google"), data, steps, folder)

    rates = (0.0003, 0.001)
    table = {"teacher on Google's": over_seeds(out / "teacher", seeds, partial(supervised, vendor="google"), (0.001,))}
    table["teacher on Twitter's, as it is"] = [
        once(out / "as_it_is" / str(s), partial(as_it_is, s)) for s in range(seeds)
    ]
    table["distilled from pairs without labels"] = over_seeds(out / "distilled", seeds, follow, rates)
    table["trained with all of Twitter's labels"] = over_seeds(
        out / "all", seeds, partial(supervised, vendor="twitter"), rates
    )
    return table


def stamps(seeds: int, out: Path) -> Table:
    """Stamps by what is said of them."""

    def teacher(seed: int, rate: float, folder: Path) -> Figures:
        data = StampsData(image_size=64, batch_size=32, cache=True, split_seed=seed)
        return fit(
            FinetuneModule(TimmBackbone(IMAGENET, "packaged"), data.num_classes, optim(rate, head=10)),
            data,
            160,
            folder,
        )

    def listen(seed: int, rate: float, folder: Path, losses: dict[str, Callable[[], DistillLoss]]) -> Figures:
        data = SpokenStampsData(image_size=64, batch_size=32, cache=True, split_seed=seed, picture_size=64)
        of = CheckpointTeacher(out / "teacher" / "0.0003" / str(seed) / "model.ckpt")
        return fit(
            distilled(listener(), of, data, {name: make() for name, make in losses.items()}, optim(rate)),
            data,
            19 * 25,
            folder,
        )

    def commonest(seed: int) -> Figures:
        splits = SpokenStampsData(split_seed=seed).splits()
        most = splits["train"].targets.mode().values
        shares = {split: (splits[split].targets == most).float().mean().item() for split in ("val", "test")}
        return shares | {"macro": 1 / len(splits["test"].targets.unique())}

    table = {"teacher on its pictures": over_seeds(out / "teacher", seeds, teacher, (0.0003,))}
    table["always the commonest category"] = [
        once(out / "commonest" / str(s), partial(commonest, s)) for s in range(seeds)
    ]
    soft: dict[str, Callable[[], DistillLoss]] = {"soft": partial(SoftTargetKL, 1)}
    ways = {
        "trained with all labels": {"labels": Labels},
        "distilled without labels": soft,
        "both": {"labels": Labels} | soft,
    }
    for name, losses in ways.items():
        table[name] = over_seeds(out / name.replace(" ", "_"), seeds, partial(listen, losses=losses), (0.002, 0.005))
    return table


def main() -> None:
    """Run the parts that are asked for, and print their tables."""
    parts = {"digits": digits, "edges": edges, "emoji": emoji, "stamps": stamps}
    arguments = parser(__doc__)
    arguments.add_argument("parts", nargs="*", choices=[*parts, []])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--out", type=Path, default=Path("runs/cross_modal"))
    args = arguments.parse_args()
    silence()
    tables = {part: parts[part](args.seeds, args.out / part) for part in args.parts or parts}
    for part, table in tables.items():
        print(f"\n{part:<56}  test accuracy, %  mean over classes, %")
        for name, figures in table.items():
            test, macro = (mean_and_deviation([100 * found[key] for found in figures]) for key in ("test", "macro"))
            print(f"{name:<56}  {test[0]:>9.1f} ± {test[1]:<4.1f}  {macro[0]:>9.1f} ± {macro[1]:.1f}")
    report({"seeds": args.seeds, "tables": tables})


if __name__ == "__main__":
    main()
