"""Few-shot rules on frozen features, and networks that learned from episodes: concepts of emoji, categories of stamps, digits.

usage: python scripts/bench/few_shot.py [emoji stamps mnist] [--episodes 600] [--steps 400] [--out runs/few_shot]
Emoji are concepts: an episode's examples are Google's drawings and its queries Twitter's, each turned version of a concept is a concept of its
own, and a drawing counts as five by mild crops, so that five examples are five crops of one drawing. A tenth of the concepts is for
validation, a fifth novel. Of stamps (64 and 96 pixels) and of 3,000 of MNIST's test images, which are in no training, 7 of 11 and 6 of 10
classes are novel; the others give the mean that SimpleShot takes off. Features: a ResNet-10 with random weights; the same after SimCLR on base concepts of
emoji, whose two views are the two vendors'; ImageNet's EfficientNet-Lite0; Conv-4 as a prototypical network, trained on base concepts. MAML
answers 5 ways of 1 example, for which it is trained. Nothing is chosen: rules have their papers' values. An interrupted run goes on where it was.
Writes few_shot.csv, prints tables and, as its last line, one JSON object; ± is the 95 % interval over episodes, of one division of the
classes.
"""

import csv
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import once, parser, quiet_trainer, report, silence, train
from lightning.pytorch import seed_everything
from torch.optim import Adam, AdamW

from lightning_transfer import ContrastiveModule, FewShotModule, Optim, TimmBackbone
from lightning_transfer.backbones import Backbone, Conv4
from lightning_transfer.data import (
    ContrastiveTransform,
    EmojiData,
    EpisodeData,
    EvalTransform,
    ImageData,
    StampsData,
    TorchvisionData,
    TrainTransform,
)
from lightning_transfer.data.sources import ImageSource, Subset
from lightning_transfer.features.once import embed_all
from lightning_transfer.fewshot import (
    BDCSPN,
    PTMAP,
    TIMADM,
    BaselinePlusPlus,
    FewShotRule,
    LaplacianShot,
    LogisticRule,
    MatchingRule,
    NearestNeighbour,
    PrototypeRule,
    RidgeRule,
    SimpleShot,
)
from lightning_transfer.inner_loops import MAML
from lightning_transfer.losses.pair import NTXent
from lightning_transfer.metrics.episodes import episode_metrics
from lightning_transfer.optim import WarmupCosine
from lightning_transfer.projectors import MLPProjector

RULES: dict[str, Callable[[], FewShotRule]] = {
    "prototypes": PrototypeRule,
    "prototypes, cosine": partial(PrototypeRule, distance="cosine", scale=10.0),
    "matching": MatchingRule,
    "nearest neighbour": NearestNeighbour,
    "SimpleShot": SimpleShot,
    "ridge": RidgeRule,
    "logistic": LogisticRule,
    "Baseline++": BaselinePlusPlus,
    "BD-CSPN": BDCSPN,
    "LaplacianShot": LaplacianShot,
    "TIM (ADM)": TIMADM,
    "PT-MAP": PTMAP,
}
SMALL = 32  # pixels of what is trained here
SIDES = {"emoji": 96, "stamps": 96, "mnist": 64}  # of ImageNet's network
SHAPES = {"emoji": [(5, 1), (5, 5), (20, 1)], "stamps": [(5, 1), (5, 5)], "mnist": [(5, 1), (5, 5)]}
MILD = partial(TrainTransform, scale=(0.8, 1.0), flip=0.0)
Figures = dict[str, Any]


class UnseenDigits(TorchvisionData):
    """The first 3,000 of MNIST's test images."""

    def sources(self) -> dict[str, ImageSource]:
        return {"train": Subset(super().sources()["test"], torch.arange(3000))}


class BasePairs(EmojiData):
    """Google's and Twitter's drawings of the base concepts."""

    def sources(self) -> dict[str, ImageSource]:
        base = concepts(SMALL).divided["train"]
        return {"train": Subset(super().sources()["train"], torch.tensor(base))}


def concepts(side: int, ways: int = 5, shots: int = 1, **options: Any) -> EpisodeData:
    """Episodes of emoji."""
    data = EmojiData(
        label="concept", beside="twitter", image_size=side, batch_size=100, cache=True, num_workers=0, augmentations=20,
        train_transform=MILD, eval_transform=MILD,
    )  # fmt: skip
    return EpisodeData(
        data, ways, shots, 5, val_classes=0.1, novel_classes=0.2, query_from="twitter", rotations=True, eval_augmentations=5,
        **options,
    )  # fmt: skip


def categories(name: str, side: int, ways: int, shots: int, **options: Any) -> EpisodeData:
    """Episodes of few classes with many images."""
    common: dict[str, Any] = {"image_size": side, "batch_size": 100, "cache": True, "num_workers": 0}
    common["eval_transform"] = partial(EvalTransform, crop=1.0)
    data: ImageData = StampsData(**common) if name == "stamps" else UnseenDigits("torchvision.datasets.MNIST", **common)
    return EpisodeData(data, ways, shots, 15, val_classes=0.0, novel_classes=0.6, **options)


def episodes(name: str, side: int, ways: int, shots: int, count: int) -> EpisodeData:
    make = concepts if name == "emoji" else partial(categories, name)
    return make(side, ways, shots, episodes=count, batch_size=50)


def optim(rate: float, kind: Any = AdamW) -> Optim:
    return Optim(partial(kind, lr=rate), partial(WarmupCosine, warmup=0.1))


def simclr(folder: Path, steps: int) -> Figures:
    """Two vendors' drawings are two views."""
    strong = partial(ContrastiveTransform, scale=(0.4, 1.0))
    data = BasePairs(
        label="concept", beside="twitter", view_modality="twitter", views=2, image_size=SMALL, batch_size=256, cache=True,
        num_workers=0, train_transform=strong, val_fraction=0, test_fraction=0,
    )  # fmt: skip
    projector = partial(MLPProjector, hidden=512, out_features=128)
    backbone = TimmBackbone("resnet10t", pretrained=False)
    module = ContrastiveModule(backbone, NTXent(0.2), data.num_classes, projector, probe=False, optim=optim(0.002))
    train(module, data, steps, folder)
    return {"steps": steps}


def prototypical(folder: Path, steps: int) -> Figures:
    """Twenty ways, which is more than are asked for."""
    data = concepts(SMALL, train_ways=20, train_queries=5, train_episodes=steps, episodes=200)
    module = FewShotModule(Conv4(), PrototypeRule(), optim=optim(0.001, Adam), image_size=SMALL)
    train(module, data, steps, folder)
    return {"steps": steps}


def maml(folder: Path, steps: int, count: int) -> Figures:
    """Five ways of one example, four episodes a step."""
    data = concepts(SMALL, train_episodes=4 * steps, batch_size=4, episodes=count)
    module = FewShotModule(Conv4(norm="group"), inner_loop=MAML(rate=0.01), optim=optim(0.001, Adam), image_size=SMALL)
    trainer = train(module, data, steps, folder)
    (test,) = trainer.test(module, data, verbose=False)
    return {"accuracy": test["test/accuracy"], "interval": test["test/accuracy_ci95"]}


def encoders(out: Path) -> dict[str, Callable[[], Backbone]]:
    return {
        "random": partial(TimmBackbone, "resnet10t", False),
        "SimCLR": lambda: TimmBackbone("resnet10t", str(out / "SimCLR" / "model.ckpt")),
        "ImageNet": partial(TimmBackbone, "tf_efficientnet_lite0", "packaged"),
        "ProtoNet": lambda: FewShotModule.load_from_checkpoint(out / "ProtoNet" / "model.ckpt").model.backbone,
    }


def embedded(name: str, encoder: str, make: Callable[[], Backbone]) -> dict[str, torch.Tensor]:
    """Embeddings of novel and base images, once for all shapes of episodes."""
    seed_everything(0, verbose=False)
    data = episodes(name, SIDES[name] if encoder == "ImageNet" else SMALL, *SHAPES[name][0], 1)
    trainer = quiet_trainer(0)
    trainer.datamodule = data  # type: ignore[attr-defined]
    data.setup("test")
    backbone = make().eval()
    return {
        split: embed_all(backbone, trainer, data.sets[split], data.sets[split].versions or 1)
        for split in ("test", "base")
    }


def answer(rule: FewShotRule, data: EpisodeData, base: torch.Tensor) -> Figures:
    """Accuracy over all episodes, and the seconds that the rule took."""
    rule.prepare(base, data.all_class_names)
    metrics, seconds = episode_metrics(), 0.0
    for episode in data.test_dataloader():
        support, query = episode.support, episode.query
        begin = time.perf_counter()
        with torch.no_grad():
            logits = rule(
                support.modalities["embedding"], support.target, query.modalities["embedding"], episode.classes
            )
        seconds += time.perf_counter() - begin
        metrics.update(logits, query.target)
    found = {key: float(value) for key, value in metrics.compute().items()}
    return {"accuracy": found["accuracy"], "interval": found["accuracy_ci95"], "seconds": seconds}


def table(name: str, out: Path, count: int) -> list[Figures]:
    """All rules on all features of one set."""
    rows = []
    for encoder, make in encoders(out).items():
        features: dict[str, torch.Tensor] = {}
        for ways, shots in SHAPES[name]:
            for rule, build in RULES.items():
                folder = out / name / encoder / f"{ways}_{shots}" / rule.replace(" ", "_")
                if not features and not (folder / "figures.json").is_file():
                    features = embedded(name, encoder, make)
                data = episodes(name, SIDES[name] if encoder == "ImageNet" else SMALL, ways, shots, count)
                found = once(folder, partial(measured, build, data, features))
                rows.append({"data": name, "features": encoder, "ways": ways, "shots": shots, "rule": rule, **found})
    return rows


def measured(build: Callable[[], FewShotRule], data: EpisodeData, features: dict[str, torch.Tensor]) -> Figures:
    data.setup("test")
    for split, embeddings in features.items():
        data.sets[split].embed(embeddings)
    return answer(build(), data, features["base"].flatten(0, 1))


def show(rows: list[Figures]) -> None:
    """A table a shape, rules by features."""
    for ways, shots in dict.fromkeys((row["ways"], row["shots"]) for row in rows):
        own = [row for row in rows if (row["ways"], row["shots"]) == (ways, shots)]
        names = list(dict.fromkeys(row["features"] for row in own))
        print(f"{own[0]['data']}, {ways} ways, {shots} shots\n{'':20}" + "".join(f"{name:>14}" for name in names))
        for rule in dict.fromkeys(row["rule"] for row in own):
            cells = [row for row in own if row["rule"] == rule]
            print(f"{rule:20}" + "".join(f"{100 * c['accuracy']:8.1f} ± {100 * c['interval']:.1f}" for c in cells))


def main() -> None:
    """Train three networks, then ask all rules."""
    arguments = parser(__doc__)
    arguments.add_argument("data", nargs="*", choices=[*SHAPES, []])
    arguments.add_argument("--episodes", type=int, default=600)
    arguments.add_argument("--steps", type=int, default=400, help="of SimCLR; episodes of ProtoNet are twice as many")
    arguments.add_argument("--out", type=Path, default=Path("runs/few_shot"))
    args = arguments.parse_args()
    silence()
    seed_everything(0, verbose=False)
    once(args.out / "SimCLR", lambda: simclr(args.out / "SimCLR", args.steps))
    once(args.out / "ProtoNet", lambda: prototypical(args.out / "ProtoNet", 2 * args.steps))
    found = once(args.out / "MAML", lambda: maml(args.out / "MAML", args.steps, args.episodes))
    print(f"MAML, emoji, 5 ways, 1 shot: {100 * found['accuracy']:.1f} ± {100 * found['interval']:.1f}", flush=True)
    rows: list[Figures] = []
    for name in args.data or SHAPES:
        rows += table(name, args.out, args.episodes)
        show([row for row in rows if row["data"] == name])
    with (args.out / "few_shot.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    report({"episodes": args.episodes, "maml": found, "rows": rows})


if __name__ == "__main__":
    main()
