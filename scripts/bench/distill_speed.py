"""The speed of distillation: beside a bare loop, with a cache beside plain training, beside torchdistill; and CRD as its banks grow.

usage: pip install --no-deps --target torchdistill torchdistill
       python scripts/bench/distill_speed.py [--torchdistill torchdistill] [--rounds 5] [--pixels 64] [--batch 32]
A ResNet-18 learns from a ResNet-34, both from random weights, on stamps that stay in memory, by labels and soft targets. In each round all ways
train two epochs in turn, of which the second counts. torchdistill is run as it is, and with its networks laid out channels last,
as ours are. The last line is one JSON object; bars: live over bare seconds 1.02, cached over plain 1.05, torchdistill's over ours 1.0.
"""

import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import keep_memory, median, parser, refuse_under_load, report, second_epoch, silence
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div
from torch.optim import SGD
from torch.utils.data import Dataset

from lightning_transfer import DistillModule, FinetuneModule, Optim, TimmBackbone
from lightning_transfer.contracts import Features, Prediction
from lightning_transfer.data import EvalTransform, StampsData
from lightning_transfer.losses.distill import CRD, InfoNCE, Labels, SoftTargetKL
from lightning_transfer.models import Classifier, SourceModel
from lightning_transfer.teachers import CachedTeacher, ModuleTeacher, Teacher

TEMPERATURE, CLASSES = 4.0, 11


class Scores(nn.Module):
    """The logits alone, as torchdistill wants them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.model(image).logits
        return logits


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Our training images, in pairs as torchdistill wants them."""

    def __init__(self, data: StampsData) -> None:
        self.images = data.train_set

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, target, *_ = self.images[index]  # type: ignore[misc]  # all can be read
        return image, target


def teacher() -> SourceModel:
    """The same weights each time."""
    torch.manual_seed(0)
    return SourceModel("resnet34", pretrained=False, options={"num_classes": CLASSES})


def backbone() -> TimmBackbone:
    """Likewise."""
    torch.manual_seed(1)
    return TimmBackbone("resnet18", pretrained=False)


def sgd() -> Optim:
    """The same optimiser for all."""
    return Optim(partial(SGD, lr=0.01, momentum=0.9), schedule=None)


def plain(data: StampsData) -> float:
    """The student without a teacher."""
    return second_epoch(data, FinetuneModule(backbone(), CLASSES, sgd()))


def taught(data: StampsData, by: Teacher) -> float:
    """The student with one."""
    losses, weights = {"labels": Labels(), "soft": SoftTargetKL(TEMPERATURE)}, {"labels": 0.5, "soft": 0.5}
    return second_epoch(data, DistillModule(backbone(), by, CLASSES, losses, weights, optim=sgd()))


def live(data: StampsData) -> float:
    """A teacher who is asked for every image."""
    return taught(data, ModuleTeacher(teacher()))


def cached(data: StampsData, folder: Path) -> float:
    """A teacher whose answers were kept before."""
    return taught(data, CachedTeacher(ModuleTeacher(teacher()), folder))


def bare(data: StampsData) -> float:
    """Student's step and teacher's forward pass, and nothing else."""
    from lightning_transfer.heads import LinearHead

    student = Classifier(backbone(), LinearHead, CLASSES).train().to(memory_format=torch.channels_last)
    network = teacher().eval().requires_grad_(False).to(memory_format=torch.channels_last)
    optimizer = SGD(student.parameters(), lr=0.01, momentum=0.9)
    loader = data.train_dataloader()
    for _ in range(2):
        begin = time.perf_counter()
        for batch in loader:
            image = batch.image.contiguous(memory_format=torch.channels_last)
            logits = student(image).logits
            with torch.no_grad():
                soft = (network(image).logits / TEMPERATURE).log_softmax(1)
            loss = 0.5 * cross_entropy(logits, batch.target) + 0.5 * TEMPERATURE**2 * kl_div(
                (logits / TEMPERATURE).log_softmax(1), soft, reduction="batchmean", log_target=True
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - begin


def theirs(data: StampsData, layout: torch.memory_format) -> float:
    """torchdistill's own box and loop, without its log."""
    from torch.utils.data import RandomSampler
    from torchdistill.core.distillation import DistillationBox

    from lightning_transfer.heads import LinearHead

    loader = {
        "dataset_id": "train",
        "sampler": {"class_or_func": RandomSampler, "kwargs": {}},
        "kwargs": {"batch_size": data.batch_size, "num_workers": 0, "drop_last": True},
    }
    forward = {"forward_proc": "forward_batch_only"}
    kd = {"student_module_path": ".", "student_module_io": "output", "teacher_module_path": ".", "teacher_module_io": "output",
          "temperature": TEMPERATURE, "alpha": 0.5, "reduction": "batchmean"}  # fmt: skip
    config = {
        "num_epochs": 2,
        "train_data_loader": loader,
        "teacher": {**forward, "requires_grad": False},
        "student": forward,
        "optimizer": {"key": "SGD", "kwargs": {"lr": 0.01, "momentum": 0.9}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"kd": {"criterion": {"key": "KDLoss", "kwargs": kd}, "weight": 1.0}}},
        },
    }
    student = Scores(Classifier(backbone(), LinearHead, CLASSES)).to(memory_format=layout)
    network = Scores(teacher()).eval().to(memory_format=layout)
    device = torch.device("cpu")
    box = DistillationBox(network, student, {"train": Pictures(data)}, config, device, None, False, 1)
    for epoch in range(2):
        begin = time.perf_counter()
        box.pre_epoch_process(epoch=epoch)
        for image, target, supplement in box.train_data_loader:
            loss = box.forward_process(image, target, supplement)
            box.post_forward_process(loss=loss)
    return time.perf_counter() - begin


def contrastive(batch: int) -> Iterator[dict[str, Any]]:
    """Memory of the banks and time of a step for more and more images; the queue beside them."""
    features = [Prediction(torch.randn(batch, 10), Features(torch.randn(batch, 512, requires_grad=True))) for _ in "st"]
    for count in (10_000, 100_000, 1_000_000, None):
        loss: Any = InfoNCE(queue=16384) if count is None else CRD()
        targets = torch.randint(1000, (count or batch,))
        loss.prepare(*features, targets)
        given = {} if count is None else {"indices": torch.randint(count, (batch,))}
        target = targets[given["indices"]] if count else targets
        seconds = []
        for _ in range(6):
            begin = time.perf_counter()
            loss(*features, target, **given).backward()
            seconds.append(time.perf_counter() - begin)
        megabytes = sum(buffer.nbytes for buffer in loss.buffers()) / 1e6
        yield {"images": count or "queue", "megabytes": megabytes, "seconds": statistics.median(seconds[1:])}


def ways(args: Namespace, folder: Path) -> dict[str, Callable[[StampsData], float]]:
    """All that can be run here."""
    found: dict[str, Callable[[StampsData], float]] = {
        "plain": plain, "bare": bare, "live": live, "cached": partial(cached, folder=folder)
    }  # fmt: skip
    if args.torchdistill:
        sys.path.append(str(args.torchdistill))
        found["torchdistill"] = partial(theirs, layout=torch.contiguous_format)
        found["torchdistill, channels last"] = partial(theirs, layout=torch.channels_last)
    return found


def main() -> None:
    """Time all ways in turn."""
    arguments = parser(__doc__)
    arguments.add_argument("--torchdistill", type=Path, help="folder that pip put it into; left out if not given")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--pixels", type=int, default=64)
    arguments.add_argument("--batch", type=int, default=32)
    args = arguments.parse_args()
    keep_memory()
    refuse_under_load()
    silence()
    whole = partial(EvalTransform, crop=1.0)
    data = StampsData(image_size=args.pixels, batch_size=args.batch, cache=True, train_transform=whole)
    data.setup("fit")
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        chosen = ways(args, Path(folder) / "answers")
        cached(data, Path(folder) / "answers")  # fills it
        for number in range(args.rounds):
            for name, way in chosen.items():
                seconds.setdefault(name, []).append(way(data))
            print(
                f"round {number + 1}: ",
                "  ".join(f"{name} {times[-1]:.2f} s" for name, times in seconds.items()),
                flush=True,
            )
    pairs = {"live_over_bare": ("live", "bare"), "cached_over_plain": ("cached", "plain")}
    pairs |= {f"{name}_over_live": (name, "live") for name in chosen if name.startswith("torchdistill")}
    figures: dict[str, object] = {}
    for name, (first, second) in pairs.items():
        ratios = [a / b for a, b in zip(seconds[first], seconds[second], strict=True)]
        print(f"{name}: {median(ratios)}")
        figures[name] = statistics.median(ratios)
    figures["crd"] = list(contrastive(args.batch))
    for row in figures["crd"]:  # type: ignore[attr-defined]
        print(f"CRD, {row['images']}: {row['megabytes']:.0f} MB, {row['seconds']:.3f} s a step")
    report(figures)


if __name__ == "__main__":
    main()
