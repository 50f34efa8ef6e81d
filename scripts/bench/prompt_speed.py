"""The speed of visual prompting: beside a bare loop, fine-tuning, and the code of Bahng et al.; what is kept for the gradient.

usage: git clone https://github.com/hjbahng/visual_prompting reference
       python scripts/bench/prompt_speed.py [--reference reference] [--rounds 5] [--steps 40] [--pixels 128] [--batch 32]
A ring (30 of 224 pixels, in standard deviations) before ImageNet EfficientNet-Lite0. Each step of the Trainer is followed by the same step of a
bare loop, of the same forward pass and the gradient of the prompt. Then, on stamps that stay in memory, all ways train two epochs in turn
in each round, of which the second counts; `iterative` counts classes beside. The reference is run as it is but for `.cuda()`, which does
nothing here: its model's weights keep `requires_grad`, so that it computes gradients that no one uses; and once with weights frozen and channels
last, as ours are. The last line is one JSON object; bars: ours over bare seconds 1.03, ours over fine-tuning 0.75, the reference over
ours 1.0.
"""

import io
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from common import keep_memory, median, one_epoch, parser, refuse_under_load, report, second_epoch, silence
from overhead import Alternate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset

from lightning_transfer import FinetuneModule, Optim, TimmBackbone, VisualPromptModule
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data import EvalTransform, StampsData
from lightning_transfer.data.datasets import collate
from lightning_transfer.mappings import FirstMapping, IterativeMapping, LabelMapping
from lightning_transfer.models import SourceModel
from lightning_transfer.prompts import PaddingPrompt

IMAGENET, RATE, MOMENTUM = "tf_efficientnet_lite0", 0.1, 0.9
Way = Callable[[StampsData], float]


class Logits(nn.Module):
    """The source's network alone, for images that are normalised already."""

    def __init__(self) -> None:
        super().__init__()
        self.network = SourceModel(IMAGENET, "packaged").model.eval()

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(image)
        return logits


class Normalised(Dataset[tuple[Tensor, Tensor]]):
    """Our training images, normalised as the reference's are."""

    def __init__(self, data: StampsData) -> None:
        self.images = data.train_set
        self.mean, self.std = SourceModel(IMAGENET, "packaged").statistics()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, target, *_ = self.images[index]  # type: ignore[misc]  # all can be read
        return (image - self.mean) / self.std, target


def sgd() -> Optim:
    """The same optimiser for all."""
    return Optim(partial(SGD, lr=RATE, momentum=MOMENTUM), schedule=None)


def prompted(data: StampsData, mapping: LabelMapping) -> VisualPromptModule:
    """A ring before the source."""
    ring = PaddingPrompt(width(data.image_size), space="normalised", init="normal")
    source = SourceModel(IMAGENET, "packaged")
    return VisualPromptModule(source, ring, data.num_classes, mapping, sgd(), image_size=data.image_size)


def width(pixels: int) -> int:
    """Of the ring: 30 of 224."""
    return round(pixels * 30 / 224)


def ours(data: StampsData) -> float:
    """The first classes, as the reference has them."""
    return second_epoch(data, prompted(data, FirstMapping()))


def iterative(data: StampsData) -> float:
    """The classes are counted and mapped anew."""
    return second_epoch(data, prompted(data, IterativeMapping()))


def tunable(data: StampsData) -> FinetuneModule:
    """All weights are trained."""
    return FinetuneModule(TimmBackbone(IMAGENET, "packaged"), data.num_classes, sgd())


def tuned(data: StampsData) -> float:
    """Fine-tuning."""
    return second_epoch(data, tunable(data))


def bare(data: StampsData, batches: list[ImageBatch]) -> Iterator[float]:
    """The same forward pass and the gradient of the prompt, and nothing else."""
    model = prompted(data, FirstMapping()).model.train().to(memory_format=torch.channels_last)
    optimizer = SGD([p for p in model.parameters() if p.requires_grad], lr=RATE, momentum=MOMENTUM)
    for batch in DataLoader(batches, batch_size=None):  # type: ignore[arg-type]  # a list serves
        optimizer.zero_grad()
        image = batch.image.contiguous(memory_format=torch.channels_last)
        loss = cross_entropy(model(image).logits, batch.target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield loss.item()


def over_bare(data: StampsData, steps: int) -> float:
    """Seconds of a step of ours over those of the bare loop, whose steps alternate."""
    loader = DataLoader(data.train_set, data.batch_size, drop_last=True, collate_fn=collate)
    few = list(loader)
    batches = [few[i % len(few)] for i in range(steps)]
    torch.manual_seed(1)
    alternate = Alternate(bare(data, batches))
    torch.manual_seed(1)
    one_epoch(prompted(data, FirstMapping()), batches, alternate)
    return statistics.median(alternate.seconds["ours"]) / statistics.median(alternate.seconds["bare"])


def kept(data: StampsData, module: Any) -> float:
    """What one step's forward pass keeps for the gradient beside weights, in MiB."""
    batch = next(iter(data.train_dataloader()))
    module.train().to(memory_format=torch.channels_last)
    known = {tensor.untyped_storage().data_ptr() for tensor in module.state_dict().values()}
    found: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = module.step(batch).loss
    loss.backward()
    return sum(found.values()) / (1 << 20)


def theirs(data: StampsData, frozen: bool) -> float:
    """The reference's prompt and loop."""
    import main_vision  # type: ignore[import-not-found]
    from models import prompters  # type: ignore[import-not-found]

    model = (
        Logits().requires_grad_(not frozen).to(memory_format=torch.channels_last if frozen else torch.contiguous_format)
    )
    prompt = prompters.padding(SimpleNamespace(prompt_size=width(data.image_size), image_size=data.image_size))
    optimizer = SGD(prompt.parameters(), lr=RATE, momentum=MOMENTUM)
    loader: Any = DataLoader(Normalised(data), data.batch_size, shuffle=True, drop_last=True)
    options = SimpleNamespace(print_freq=10**9, save_freq=10**9, use_wandb=False)
    main_vision.save_checkpoint = lambda *_, **__: None  # it writes one at the first step of each epoch
    common = (list(range(data.num_classes)), loader, model, prompt, optimizer, lambda _: RATE, nn.CrossEntropyLoss())
    for epoch in range(2):
        begin = time.perf_counter()
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            main_vision.train(*common, epoch, options)
    return time.perf_counter() - begin


def ways(reference: Path | None) -> dict[str, Way]:
    """All that can be run here."""
    found: dict[str, Way] = {"ours": ours, "iterative": iterative, "tuned": tuned}
    if reference:
        sys.path.insert(0, str(reference))
        torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
        found |= {"reference": partial(theirs, frozen=False), "reference, frozen": partial(theirs, frozen=True)}
    return found


def images(args: Namespace) -> StampsData:
    """Stamps that stay in memory."""
    whole = partial(EvalTransform, crop=1.0)
    data = StampsData(image_size=args.pixels, batch_size=args.batch, cache=True, train_transform=whole)
    data.setup("fit")
    return data


def main() -> None:
    """Time all ways in turn."""
    arguments = parser(__doc__)
    arguments.add_argument("--reference", type=Path, help="folder of the reference's code; left out if not given")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--pixels", type=int, default=128)
    arguments.add_argument("--batch", type=int, default=32)
    arguments.add_argument("--steps", type=int, default=40)
    args = arguments.parse_args()
    keep_memory()
    silence()
    refuse_under_load()
    chosen, data = ways(args.reference), images(args)
    steps = [over_bare(data, args.steps) for _ in range(args.rounds)]
    print(f"ours over bare, a step: {median(steps)}", flush=True)
    figures: dict[str, object] = {"ours_over_bare": statistics.median(steps)}
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for number in range(args.rounds):
        for name, way in chosen.items():
            seconds[name].append(way(data))
        print(
            f"round {number + 1}:",
            "  ".join(f"{name} {times[-1]:.2f} s" for name, times in seconds.items()),
            flush=True,
        )
    pairs = {"iterative_over_ours": ("iterative", "ours"), "ours_over_tuned": ("ours", "tuned")}
    pairs |= {f"{name}_over_ours": (name, "ours") for name in chosen if name.startswith("reference")}
    for name, (first, second) in pairs.items():
        ratios = [a / b for a, b in zip(seconds[first], seconds[second], strict=True)]
        print(f"{name}: {median(ratios)}")
        figures[name] = statistics.median(ratios)
    memory = {"ours": kept(data, prompted(data, FirstMapping())), "tuned": kept(data, tunable(data))}
    print("kept for the gradient:", ", ".join(f"{name} {value:.0f} MiB" for name, value in memory.items()))
    report(figures | {f"{name}_mib": value for name, value in memory.items()})


if __name__ == "__main__":
    main()
