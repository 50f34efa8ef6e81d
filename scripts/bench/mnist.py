"""Hinton's experiments on MNIST: a student's errors with and without a teacher, without threes, and with 3 % of the images.

usage: python scripts/bench/mnist.py [--seeds 3] [--teacher_epochs 30] [--epochs 20] [--out runs/mnist]
The networks and data of configs/finetune/mnist_mlp (the teacher, one seed) and configs/distill/mnist (students). The bias of the
class that a student never saw is chosen on validation images. With 3 % of the images a training has a third of the steps.
An interrupted run goes on where it was. Prints a table and, as its last line, one JSON object.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import once, parser, report, silence, train
from lightning.pytorch import seed_everything
from seeds import mean_and_deviation
from torch import Tensor
from torch.optim import AdamW

from lightning_transfer import DistillModule, FinetuneModule, Optim
from lightning_transfer.backbones import MLPBackbone
from lightning_transfer.data import EvalTransform, ShiftTransform, TorchvisionData
from lightning_transfer.data.sources import ImageSource, Subset
from lightning_transfer.losses.distill import Labels, SoftTargetKL
from lightning_transfer.optim import WarmupCosine
from lightning_transfer.teachers import CheckpointTeacher

BATCH, THREE = 128, 3
WHOLE = partial(EvalTransform, crop=1.0)


class MNIST(TorchvisionData):
    """MNIST, of which training may miss a class.

    Args:
        missing: a class.
        kwargs: as for `TorchvisionData`.
    """

    def __init__(self, missing: int | None = None, **kwargs: Any) -> None:
        common: dict[str, Any] = {"image_size": 28, "batch_size": BATCH, "val_fraction": 1 / 12, "cache": True}
        super().__init__("torchvision.datasets.MNIST", eval_transform=WHOLE, **common, **kwargs)
        self.missing = missing

    def splits(self) -> dict[str, ImageSource]:
        first = not self._splits
        splits = super().splits()
        if first and self.missing is not None:
            train = splits["train"]
            splits["train"] = Subset(train, (train.targets != self.missing).nonzero().flatten())
        return splits


def optim() -> Optim:
    """As in the configurations."""
    return Optim(partial(AdamW, lr=0.001, weight_decay=0.0), partial(WarmupCosine, warmup=0.05))


@torch.no_grad()
def logits(module: Any, data: MNIST, split: str) -> tuple[Tensor, Tensor]:
    """Logits and targets of a split."""
    batches = list(data.ordered_dataloader(data.splits()[split]))
    module.eval()
    return torch.cat([module(batch.image).logits for batch in batches]), torch.cat([batch.target for batch in batches])


def errors(module: Any, data: MNIST) -> dict[str, Any]:
    """Images that are answered wrongly."""
    found, target = logits(module, data, "test")
    trained, label = logits(module, data, "train")
    return {
        "errors": int((found.argmax(1) != target).sum()),
        "train_accuracy": (trained.argmax(1) == label).float().mean().item(),
    }


def without_threes(module: Any, data: MNIST) -> dict[str, Any]:
    """Errors before and after the bias of the threes is raised to where the fewest validation images are wrong."""
    scores, label = logits(module, data, "val")
    tried = torch.arange(0, 60, 0.1)
    shift = torch.nn.functional.one_hot(torch.tensor(THREE), 10)
    wrong = torch.stack([((scores + bias * shift).argmax(1) != label).sum() for bias in tried])
    bias = tried[wrong == wrong.min()].median()  # the middle of the best
    found, target = logits(module, data, "test")
    figures: dict[str, Any] = {"bias": bias.item()}
    for name, answers in (("", found), ("_corrected", found + bias * shift)):
        missed = answers.argmax(1) != target
        figures |= {f"errors{name}": int(missed.sum()), f"errors_on_threes{name}": int(missed[target == THREE].sum())}
    return figures


def main() -> None:
    """Train the teacher, then all students."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--teacher_epochs", type=int, default=30)
    arguments.add_argument("--epochs", type=int, default=20)
    arguments.add_argument("--out", type=Path, default=Path("runs/mnist"))
    args = arguments.parse_args()
    silence()
    epoch = 55_000 // BATCH

    def teacher() -> dict[str, Any]:
        seed_everything(0, verbose=False)
        module = FinetuneModule(MLPBackbone([1200, 1200], dropout=0.5, pixel_dropout=0.2), 10, optim())
        data = MNIST(train_transform=ShiftTransform)
        train(module, data, args.teacher_epochs * epoch, args.out / "teacher")
        return errors(module, data)

    def student(distilled: bool, seed: int, folder: Path, **data: Any) -> dict[str, Any]:
        seed_everything(seed, verbose=False)
        backbone, images = MLPBackbone([800, 800]), MNIST(train_transform=WHOLE, split_seed=seed, **data)
        module: Any = FinetuneModule(backbone, 10, optim())
        if distilled:
            losses, weights = {"labels": Labels(), "soft": SoftTargetKL(20)}, {"labels": 0.1, "soft": 0.9}
            of = CheckpointTeacher(args.out / "teacher" / "model.ckpt")
            module = DistillModule(backbone, of, 10, losses, weights, optim=optim())
        train(module, images, args.epochs * epoch // (3 if "fraction" in data else 1), folder)
        return without_threes(module, images) if "missing" in data else errors(module, images)

    table = {"teacher": [once(args.out / "teacher", teacher)]}
    for name, distilled, data in (
        ("plain", False, {}),
        ("distilled", True, {}),
        ("without threes", True, {"missing": THREE}),
        ("plain, 3 %", False, {"fraction": 0.03}),
        ("distilled, 3 %", True, {"fraction": 0.03}),
    ):
        folders = [args.out / name.replace(" ", "_") / str(seed) for seed in range(args.seeds)]
        table[name] = [
            once(folder, partial(student, distilled, seed, folder, **data)) for seed, folder in enumerate(folders)
        ]
    for name, figures in table.items():
        parts = {key: mean_and_deviation([float(figure[key]) for figure in figures]) for key in figures[0]}
        print(
            f"{name:<16}", "  ".join(f"{key} {mean:.4g} ± {deviation:.2g}" for key, (mean, deviation) in parts.items())
        )
    report({"seeds": args.seeds, "teacher_epochs": args.teacher_epochs, "epochs": args.epochs, "rows": table})


if __name__ == "__main__":
    main()
