"""Token prompts (VPT) on a small vision transformer beside a probe, BitFit, LoRA and full fine-tuning: accuracy and trained parameters.

usage: python scripts/bench/vpt.py [digits stamps] [--seeds 3] [--steps 200] [--pretraining 1500] [--out runs/vpt]
The transformer (6 blocks of width 96, patches of 4 of 32 pixels, 0.7 million weights) first learns MNIST with all labels, once. Then it is
adapted to scikit-learn's digits with 10 labels a class, and to stamps with all. A seed drives training, splits and the choice of
labels; of two rates the one with the best validation accuracy of seed 0 is taken, the least of equals. Trainings have a fixed
number of steps and are measured at their end. An interrupted run goes on where it was. Prints tables and, as its last line, one
JSON object.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from common import once, parser, report, silence, train
from lightning.pytorch import seed_everything
from safetensors.torch import save_file
from seeds import mean_and_deviation
from torch.optim import AdamW

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.contracts import ModelEdit
from lightning_transfer.data import DigitsData, EvalTransform, ImageData, StampsData, TorchvisionData, TrainTransform
from lightning_transfer.edits import BitFit, FreezeBackbone, LoRA, TokenPrompt
from lightning_transfer.optim import ParamGroups, WarmupCosine

SIDE, BATCH = 32, 50
SHAPE = {"img_size": SIDE, "patch_size": 4, "embed_dim": 96, "depth": 6, "num_heads": 3}


class Way(NamedTuple):
    """An edit and the rates that validation chooses from."""

    edit: ModelEdit | None
    rates: tuple[float, float] = (0.003, 0.01)


WAYS = {
    "probe": Way(FreezeBackbone()),
    "BitFit": Way(BitFit()),
    "LoRA": Way(LoRA()),
    "VPT shallow, 5": Way(TokenPrompt(5)),
    "VPT shallow, 20": Way(TokenPrompt(20)),
    "VPT deep, 1": Way(TokenPrompt(1, deep=True)),
    "VPT deep, 5": Way(TokenPrompt(5, deep=True)),
    "VPT deep, 20": Way(TokenPrompt(20, deep=True)),
    "full": Way(None, (0.0003, 0.001)),
}


def backbone(pretrained: bool | str) -> TimmBackbone:
    """The small transformer."""
    return TimmBackbone("vit_tiny_patch16_224", pretrained, options=SHAPE)


def images(name: str, seed: int) -> ImageData:
    """Data of one column."""
    mild = partial(TrainTransform, scale=(0.7, 1.0), flip=0.5 if name == "stamps" else 0.0)
    common: dict[str, Any] = {
        "image_size": SIDE, "batch_size": BATCH, "cache": True, "split_seed": seed, "train_transform": mild,
        "eval_transform": partial(EvalTransform, crop=1.0),
    }  # fmt: skip
    if name == "mnist":
        return TorchvisionData("torchvision.datasets.MNIST", val_fraction=0.02, **common)
    return DigitsData(labels_per_class=10, **common) if name == "digits" else StampsData(**common)


def optim(rate: float, multiplier: float = 1.0, decay: float = 0.0) -> Optim:
    """The same schedule for all."""
    return Optim(
        partial(AdamW, lr=rate, weight_decay=decay), partial(WarmupCosine, warmup=0.1), ParamGroups(head_multiplier=multiplier)
    )  # fmt: skip


def pretrain(steps: int, folder: Path) -> dict[str, float]:
    """Train on MNIST; writes the backbone's weights."""
    seed_everything(0, verbose=False)
    data = images("mnist", 0)
    module = FinetuneModule(backbone(False), 10, optim(0.001, decay=0.05))
    trainer = train(module, data, steps, folder)
    weights = module.model.backbone.model.state_dict()  # type: ignore[operator,union-attr]
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "backbone.safetensors")
    (test,) = trainer.test(module, data, verbose=False)
    return {"test": test["test/accuracy"]}


def measure(
    data_name: str, way: Way, rate: float, seed: int, steps: int, weights: Path, folder: Path
) -> dict[str, float]:
    """Adapt, and measure the last step on validation and test."""
    seed_everything(seed, verbose=False)
    data = images(data_name, seed)
    edits: list[ModelEdit] = [way.edit] if way.edit else []
    made = FinetuneModule(backbone(str(weights)), data.num_classes, optim(rate, 1.0 if way.edit else 10.0), edits=edits)
    trainer = train(made, data, steps, folder)
    (val,) = trainer.validate(made, data, verbose=False)
    (test,) = trainer.test(made, data, verbose=False)
    trained = sum(p.numel() for p in made.model.backbone.parameters() if p.requires_grad)  # type: ignore[union-attr]
    return {"val": val["val/accuracy"], "test": test["test/accuracy"], "parameters": trained}


def main() -> None:
    """Pretrain once, then fill the tables."""
    arguments = parser(__doc__)
    arguments.add_argument("data", nargs="*", choices=["digits", "stamps", []])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=200)
    arguments.add_argument("--pretraining", type=int, default=1500)
    arguments.add_argument("--out", type=Path, default=Path("runs/vpt"))
    args = arguments.parse_args()
    silence()
    source = args.out / "mnist"
    mnist = once(source, partial(pretrain, args.pretraining, source))
    print(f"MNIST: {100 * mnist['test']:.1f} %")
    rows = []
    for data in args.data or ("digits", "stamps"):
        for name, way in WAYS.items():

            def run(seed: int, rate: float, data: str = data, name: str = name, way: Way = way) -> dict[str, float]:
                folder = args.out / data / name.replace(" ", "_") / f"{rate:g}" / str(seed)
                work = partial(measure, data, way, rate, seed, args.steps, source / "backbone.safetensors", folder)
                found: dict[str, float] = once(folder, work)
                return found

            chosen = max(way.rates, key=lambda rate: run(0, rate)["val"])
            found = [run(seed, chosen) for seed in range(args.seeds)]
            accuracy, deviation = mean_and_deviation([100 * figures["test"] for figures in found])
            rows.append({"data": data, "way": name, "accuracy": accuracy, "deviation": deviation,
                         "parameters": found[0]["parameters"], "rate": chosen})  # fmt: skip
            print(
                f"{data:<8} {name:<16} {accuracy:5.1f} ± {deviation:4.1f} %  {rows[-1]['parameters']:>8,}  rate {chosen:g}"
            )
    report({"seeds": args.seeds, "steps": args.steps, "mnist": mnist["test"], "rows": rows})


if __name__ == "__main__":
    main()
