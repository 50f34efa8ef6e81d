"""Training through FinetuneModule and Trainer against a bare loop: same model, data and optimiser, same losses.

usage: python scripts/bench/overhead.py [--steps 60] [--runs 3] [--backbone resnet18] [--batch 32] [--pixels 64]
Each step of the Trainer is followed by the same step of the bare loop, so that both see the same machine. On Linux the process asks
the C library to keep freed memory: by default it hands some back to the system, so that one process takes 1,000 page faults a step and
the next 12,000, whichever way it trains. Memory is the peak of processes that train one way only. The last line is one JSON object; `ratio` is ours over bare in samples a second (bar: 0.97).
"""

import resource
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from common import keep_memory, median, one_epoch, parser, refuse_under_load, report, silence
from lightning.pytorch import Callback
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.utils.data import DataLoader

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.contracts import ImageBatch


class Pair:
    """The same training in two ways."""

    def __init__(self, args: Namespace) -> None:
        self.backbone = args.backbone
        torch.manual_seed(0)
        size = (args.batch, 3, args.pixels, args.pixels)
        self.batches = [ImageBatch(torch.rand(size), torch.randint(10, (args.batch,))) for _ in range(args.steps)]

    def module(self) -> FinetuneModule:
        torch.manual_seed(1)
        backbone = TimmBackbone(self.backbone, pretrained=False)
        return FinetuneModule(backbone, 10, Optim(partial(SGD, lr=0.01), schedule=None))

    def bare(self) -> Iterator[float]:
        model = self.module().model.train().to(memory_format=torch.channels_last)
        optimizer = SGD(model.parameters(), lr=0.01)
        for batch in DataLoader(self.batches, batch_size=None):
            optimizer.zero_grad()
            image = batch.image.contiguous(memory_format=torch.channels_last)
            loss = cross_entropy(model(image).logits, batch.target)
            loss.backward()
            optimizer.step()
            yield loss.item()

    def ours(self, *callbacks: Callback) -> None:
        one_epoch(self.module(), self.batches, *callbacks)


class Alternate(Callback):
    """After each step of the Trainer one of the bare loop; the clock of ours runs from the end of the one to the next."""

    def __init__(self, bare: Iterator[float]) -> None:
        self.bare = bare
        self.seconds: dict[str, list[float]] = {"ours": [], "bare": []}
        self.apart = 0.0
        self.last: float | None = None

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        ours = outputs["loss"].item()
        begin = time.perf_counter()
        self.apart = max(self.apart, abs(ours - next(self.bare)))
        end = time.perf_counter()
        if self.last is not None:  # the first step of each warms up
            self.seconds["ours"].append(begin - self.last)
            self.seconds["bare"].append(end - begin)
        self.last = end


def peaks(runs: int) -> dict[str, list[float]]:
    """Peak memory of processes that train in one way only, in MiB."""
    memory: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(runs):
        for name, values in memory.items():
            command = [sys.executable, *sys.argv, "--only", name]
            values.append(float(subprocess.check_output(command, stderr=subprocess.DEVNULL).split()[-1]))
    return memory


def main() -> None:
    """Time both step by step, or train one way only and print the peak of memory."""
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=60)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--batch", type=int, default=32)
    arguments.add_argument("--pixels", type=int, default=64)
    arguments.add_argument("--backbone", default="resnet18")
    arguments.add_argument("--only", choices=("ours", "bare"), help="train one way and print its peak of memory in MiB")
    args = arguments.parse_args()
    keep_memory()
    silence()
    both = Pair(args)
    if args.only:
        both.ours() if args.only == "ours" else list(both.bare())
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))
        return
    refuse_under_load()
    ratios, milliseconds, apart = [], [], 0.0
    for run in range(args.runs):
        steps = Alternate(both.bare())
        both.ours(steps)
        bare, ours = sum(steps.seconds["bare"]), sum(steps.seconds["ours"])
        samples = args.batch * (args.steps - 1)
        print(f"run {run + 1}: {samples / bare:.1f} samples a second bare, {samples / ours:.1f} ours", flush=True)
        ratios.append(bare / ours)
        milliseconds.append(1000 * (ours - bare) / (args.steps - 1))
        apart = max(apart, steps.apart)
    memory = peaks(args.runs)
    print(f"samples a second, ours over bare: {median(ratios)}; losses at most {apart:.1e} apart")
    print(f"what a step of ours takes more: {median(milliseconds, ' ms', 1)}")
    print(f"peak memory: bare {median(memory['bare'], ' MiB', 0)}, ours {median(memory['ours'], ' MiB', 0)}")
    report({
        "ratio": statistics.median(ratios),
        "loss_difference": apart,
        "memory_ratio": statistics.median(memory["ours"]) / statistics.median(memory["bare"]),
        "milliseconds_a_step": statistics.median(milliseconds),
    })  # fmt: skip


if __name__ == "__main__":
    main()
