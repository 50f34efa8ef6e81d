"""Pretraining without labels, then few labels: probe, neighbours and fine-tuning beside other starts.

usage: python scripts/bench/contrastive.py [mnist emoji] [--seeds 3] [--pretraining 400] [--out runs/contrastive]
A ResNet-10 starts from random weights; from SimCLR on the training images without their labels, at 28 pixels (MNIST) or 32 (emoji, where the
two views of a concept are Google's and Twitter's drawings); and from training with all of their labels, which is more than few labels have.
Beside it ImageNet's EfficientNet-Lite0. Each start is adapted with 1, 5 and 10 labels a class: logistic probe, one nearest neighbour, 60 steps of
fine-tuning. A seed drives pretraining, splits and the choice of labels; of two rates of fine-tuning the one with the best validation
accuracy of seed 0 is taken. Emoji's test images are Google's, of concepts held out. An interrupted run goes on where it was. Prints a
table and, as its last line, one JSON object.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from common import once, parser, report, silence, train
from lightning.pytorch import seed_everything
from seeds import mean_and_deviation
from torch.optim import AdamW

from lightning_transfer import ContrastiveModule, FinetuneModule, Optim, TimmBackbone
from lightning_transfer.commands.probe import probe
from lightning_transfer.data import (
    ContrastiveTransform,
    EmojiData,
    EvalTransform,
    ImageData,
    TorchvisionData,
    TrainTransform,
)
from lightning_transfer.losses.pair import NTXent
from lightning_transfer.optim import ParamGroups, WarmupCosine
from lightning_transfer.probes import KnnProbe, LogisticProbe
from lightning_transfer.projectors import MLPProjector

RATES, STEPS = (0.0003, 0.001), 60
DATA: dict[str, Callable[..., ImageData]] = {
    "mnist": partial(TorchvisionData, "torchvision.datasets.MNIST", image_size=28, val_fraction=0.02),
    "emoji": partial(EmojiData, image_size=32),
}
STARTS = ("random", "ImageNet", "SimCLR", "all labels")


def images(name: str, seed: int, **options: Any) -> ImageData:
    """Data of one column, which a label's worth of mild augmentation trains on unless another is given."""
    mild = partial(TrainTransform, scale=(0.7, 1.0), flip=0.0 if name == "mnist" else 0.5)
    common: dict[str, Any] = {"cache": True, "split_seed": seed, "eval_transform": partial(EvalTransform, crop=1.0)}
    return DATA[name](**({"train_transform": mild, "batch_size": 25} | common | options))


def optim(rate: float, multiplier: float = 1.0) -> Optim:
    """The same schedule for all."""
    groups = ParamGroups(head_multiplier=multiplier)
    return Optim(partial(AdamW, lr=rate, weight_decay=1e-4), partial(WarmupCosine, warmup=0.1), groups)


def pretrain(name: str, start: str, seed: int, steps: int, folder: Path) -> dict[str, float]:
    """Write model.ckpt of a ResNet-10 that has seen the training images."""
    seed_everything(seed, verbose=False)
    backbone = TimmBackbone("resnet10t", pretrained=False)
    if start == "all labels":
        data = images(name, seed, batch_size=256)
        module: Any = FinetuneModule(backbone, data.num_classes, optim(0.002))
    else:
        characters: dict[str, Any] = {"flip": 0.0, "grey": 0.0, "rotation": 10.0} if name == "mnist" else {}
        strong = partial(ContrastiveTransform, scale=(0.4, 1.0), **characters)
        pairs = {} if name == "mnist" else {"beside": "twitter", "view_modality": "twitter"}
        data = images(name, seed, batch_size=256, train_transform=strong, views=2, **pairs)
        projector = partial(MLPProjector, hidden=512, out_features=128)
        module = ContrastiveModule(backbone, NTXent(0.2), data.num_classes, projector, optim=optim(0.002))
    trainer = train(module, data, steps, folder)
    (test,) = trainer.test(module, data, verbose=False)
    return {"test": test["test/accuracy"]}


def start_from(start: str, pretrained: Path) -> TimmBackbone:
    """The backbone as it is before few labels."""
    if start == "ImageNet":
        return TimmBackbone("tf_efficientnet_lite0", "packaged")
    return TimmBackbone("resnet10t", False if start == "random" else str(pretrained / "model.ckpt"))


def probes(name: str, labels: int, start: str, seed: int, pretrained: Path, folder: Path) -> dict[str, float]:
    """Probe and nearest neighbour on features computed once."""
    seed_everything(seed, verbose=False)
    data, kinds = images(name, seed, labels_per_class=labels), [LogisticProbe(), KnnProbe(k=(1,))]
    backbone = start_from(start, pretrained)
    rows = probe(data, backbone, probes=kinds, cache=str(folder.parents[4] / "features"), out=str(folder))
    return {"probe": rows[0]["test/accuracy"], "neighbour": rows[1]["test/accuracy"]}


def tune(
    name: str, labels: int, start: str, rate: float, seed: int, pretrained: Path, folder: Path
) -> dict[str, float]:
    """Fine-tune all weights."""
    seed_everything(seed, verbose=False)
    data = images(name, seed, labels_per_class=labels)
    module = FinetuneModule(start_from(start, pretrained), data.num_classes, optim(rate, 10.0))
    trainer = train(module, data, STEPS, folder)
    (val,) = trainer.validate(module, data, verbose=False)
    (test,) = trainer.test(module, data, verbose=False)
    return {"val": val["val/accuracy"], "test": test["test/accuracy"]}


def cell(name: str, labels: int, start: str, seeds: int, out: Path) -> dict[str, list[float]]:
    """Test accuracies over seeds of the three ways."""
    root = out / name / start.replace(" ", "_")

    def tuned(seed: int, rate: float) -> dict[str, float]:
        folder = root / str(labels) / f"{rate:g}" / str(seed)
        found: dict[str, float] = once(folder, partial(tune, name, labels, start, rate, seed, root / str(seed), folder))
        return found

    folders = [root / str(labels) / "probe" / str(seed) for seed in range(seeds)]
    probed = [
        once(folder, partial(probes, name, labels, start, seed, root / str(seed), folder))
        for seed, folder in enumerate(folders)
    ]
    chosen = max(RATES, key=lambda rate: tuned(0, rate)["val"])
    return {
        "probe": [figures["probe"] for figures in probed],
        "neighbour": [figures["neighbour"] for figures in probed],
        "fine-tuning": [tuned(seed, chosen)["test"] for seed in range(seeds)],
    }


def main() -> None:
    """Pretrain, then fill the table."""
    arguments = parser(__doc__)
    arguments.add_argument("data", nargs="*", choices=[*DATA, []])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--pretraining", type=int, default=400)
    arguments.add_argument("--out", type=Path, default=Path("runs/contrastive"))
    args = arguments.parse_args()
    silence()
    rows = []
    for name in args.data or DATA:
        for start in STARTS:
            for seed in range(args.seeds) if start in ("SimCLR", "all labels") else ():
                folder = args.out / name / start.replace(" ", "_") / str(seed)
                once(folder, partial(pretrain, name, start, seed, args.pretraining, folder))
            for labels in (1, 5, 10):
                for way, found in cell(name, labels, start, args.seeds, args.out).items():
                    accuracy, deviation = mean_and_deviation([100 * value for value in found])
                    rows.append({"data": name, "start": start, "labels": labels, "way": way,
                                 "accuracy": accuracy, "deviation": deviation})  # fmt: skip
                    print(f"{name:<6} {start:<10} {labels:>3} labels  {way:<12} {accuracy:5.1f} ± {deviation:4.1f} %")
    report({"seeds": args.seeds, "pretraining": args.pretraining, "rows": rows})


if __name__ == "__main__":
    main()
