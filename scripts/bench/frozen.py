"""What frozen lower stages save in training, and what FrozenCache saves beyond.

usage: python scripts/bench/frozen.py [--runs 3] [--epochs 4] [--images 512] [--pixels 64] [--batch 32] [--stages 5 7]
       [--backbone tf_efficientnet_lite0] [--weights packaged]
scikit-learn's digits without random augmentation, decoded images in memory. Three ways to train take turns, a training of epochs + 2
each: everything; with the lower stages frozen; with those frozen and cached. The first two epochs, in which the cache is filled and
compared, do not count, and are given apart. The last line is one JSON object, for each number of frozen stages: `frozen` and `cached` are an epoch's seconds with
everything trained over theirs, `cache` frozen over cached (medians over the runs), `first` cached over frozen in the first two epochs
(smaller is better), `difference` the greatest difference of weights between frozen and cached (bar: 0).
"""

import statistics
import time
from argparse import Namespace
from typing import Any

import torch
from common import median, parser, refuse_under_load, report, silence
from lightning.pytorch import Callback, Trainer, seed_everything

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.callbacks import FrozenCache, Phase, Phases
from lightning_transfer.data import DigitsData, EvalTransform

WARM = 2
WAYS = ("trained", "frozen", "cached")


class Clock(Callback):
    """Seconds of each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.begin = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.seconds.append(time.perf_counter() - self.begin)


def train(way: str, stages: int, data: DigitsData, args: Namespace) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Seconds of the epochs, and the weights after them."""
    seed_everything(0, verbose=False)
    weights = {"true": True, "false": False}.get(args.weights, args.weights)
    module = FinetuneModule(TimmBackbone(args.backbone, pretrained=weights), 10, image_size=args.pixels)
    clock = Clock()
    callbacks: list[Callback] = [clock]
    if way != "trained":
        callbacks.append(Phases([Phase(f"stage {i}", "freeze") for i in range(stages)]))
    if way == "cached":
        callbacks.append(FrozenCache())
    trainer = Trainer(
        max_epochs=args.epochs + WARM, limit_val_batches=0, callbacks=callbacks, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data)
    return clock.seconds, {name: tensor.cpu() for name, tensor in module.state_dict().items()}


def ratio(of: list[float], over: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(of, over, strict=True)), 3)


def compare(stages: int, data: DigitsData, args: Namespace) -> dict[str, float]:
    seconds: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    difference = 0.0
    for _ in range(args.runs):
        states = {}
        for way in WAYS:
            taken, states[way] = train(way, stages, data, args)
            seconds[way].append(taken)
        pairs = zip(states["frozen"].values(), states["cached"].values(), strict=True)
        difference = max([difference, *(float((a.double() - b.double()).abs().max()) for a, b in pairs)])
    epoch = {way: [statistics.median(taken[WARM:]) for taken in runs] for way, runs in seconds.items()}
    first = {way: [sum(taken[:WARM]) for taken in runs] for way, runs in seconds.items()}
    for way in WAYS:
        print(
            f"{stages} stages, {way:<8} {median(epoch[way], ' s')} an epoch, the first two {median(first[way], ' s')}"
        )
    return {
        "frozen": ratio(epoch["trained"], epoch["frozen"]),
        "cached": ratio(epoch["trained"], epoch["cached"]),
        "cache": ratio(epoch["frozen"], epoch["cached"]),
        "first": ratio(first["cached"], first["frozen"]),
        "difference": difference,
    }


def main() -> None:
    """Train the three ways in turns."""
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--epochs", type=int, default=4, help="that count")
    arguments.add_argument("--images", type=int, default=512, help="of the 1,294 for training")
    arguments.add_argument("--pixels", type=int, default=64)
    arguments.add_argument("--batch", type=int, default=32)
    stages = "how many are frozen, from the images up"
    arguments.add_argument("--stages", type=int, nargs="+", default=[5, 7], help=stages)
    arguments.add_argument("--backbone", default="tf_efficientnet_lite0")
    arguments.add_argument("--weights", default="packaged", help="packaged, true, a file, or false for random ones")
    args = arguments.parse_args()
    refuse_under_load()
    silence()
    data = DigitsData(
        image_size=args.pixels, batch_size=args.batch, fraction=min(1.0, args.images / 1294), cache=True,
        train_transform=EvalTransform,
    )  # fmt: skip
    report({f"{stages}_stages": compare(stages, data, args) for stages in args.stages})


if __name__ == "__main__":
    main()
