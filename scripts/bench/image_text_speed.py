"""Training through ImageTextModule and Trainer against a bare loop of the same loss, and the memory that the loss takes.

usage: python scripts/bench/image_text_speed.py [--steps 30] [--runs 3] [--batch 64] [--pixels 64] [--pairs 8192 32768] [--whole 8192]
A ResNet-18 and a transformer of bytes; each step of the Trainer is followed by the same step of the bare loop. Memory is the peak of a
process that computes the loss of so many pairs of 256 dimensions, and its gradient, over that of one that computes nothing; in chunks of
1,024 rows, and, for `--whole`, with all scores at once, which grows with the square. The last line is one JSON object; `ratio` is our
seconds a step over the bare loop's (bar: 1.03).
"""

import os
import resource
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from functools import partial

import torch
from common import keep_memory, median, one_epoch, parser, refuse_under_load, report, silence
from lightning.pytorch import Callback
from overhead import Alternate
from torch.nn.functional import cross_entropy, normalize
from torch.optim import SGD
from torch.utils.data import DataLoader

from lightning_transfer import ImageTextModule, Optim, TimmBackbone
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.losses.pair import SymmetricCrossEntropy
from lightning_transfer.text_towers import TransformerTower

CHUNK, DIM = 1024, 256


class Pair:
    """The same training in two ways."""

    def __init__(self, args: Namespace) -> None:
        torch.manual_seed(0)
        size, self.batches = (args.batch, 3, args.pixels, args.pixels), []
        for step in range(args.steps):
            texts = [f"the caption of image {i} in batch {step}" for i in range(args.batch)]
            self.batches.append(ImageBatch(torch.rand(size), torch.zeros(args.batch, dtype=torch.long), text=texts))

    def module(self) -> ImageTextModule:
        torch.manual_seed(1)
        backbone = TimmBackbone("resnet18", pretrained=False)
        return ImageTextModule(backbone, TransformerTower(), optim=Optim(partial(SGD, lr=0.01), schedule=None))

    def bare(self) -> Iterator[float]:
        model = self.module().model.train().to(memory_format=torch.channels_last)
        optimizer = SGD(model.parameters(), lr=0.01)
        for batch in DataLoader(self.batches, batch_size=None):
            optimizer.zero_grad()
            image = batch.image.contiguous(memory_format=torch.channels_last)
            image = normalize(model.image_projection(model.backbone(image).embedding), dim=-1)
            text = normalize(model.text_projection(model.text_tower(model.text_tower.tokenize(batch.text))), dim=-1)
            scores, target = model.log_scale.exp() * image @ text.T, torch.arange(len(image))
            loss = (cross_entropy(scores, target) + cross_entropy(scores.T, target)) / 2
            loss.backward()
            optimizer.step()
            yield loss.item()

    def ours(self, *callbacks: Callback) -> None:
        one_epoch(self.module(), self.batches, *callbacks)


def loss_once(pairs: int, chunk: int) -> None:
    """Compute a loss and its gradient, and print the peak of memory in MiB and the seconds."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    image, text = (normalize(torch.randn(pairs, DIM), dim=-1).requires_grad_() for _ in range(2))
    scale = torch.tensor(14.3, requires_grad=True)
    begin = time.perf_counter()
    SymmetricCrossEntropy(chunk)(image, text, scale, group=torch.arange(pairs)).backward()
    seconds = time.perf_counter() - begin
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, seconds)


def measured(pairs: int, chunk: int) -> tuple[float, float]:
    command = [sys.executable, *sys.argv[:1], "--loss", str(pairs), str(chunk)]
    # with the usual allocator: one that keeps what is freed has a peak of its own
    usual = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    mebibytes, seconds = subprocess.check_output(command, stderr=subprocess.DEVNULL, env=usual).split()[-2:]
    return float(mebibytes), float(seconds)


def main() -> None:
    """Time both step by step, and measure the loss in processes of their own."""
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=30)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--batch", type=int, default=64)
    arguments.add_argument("--pixels", type=int, default=64)
    arguments.add_argument("--pairs", type=int, nargs="*", default=[8192, 32768])
    arguments.add_argument("--whole", type=int, nargs="*", default=[8192])
    arguments.add_argument(
        "--loss", type=int, nargs=2, metavar=("PAIRS", "CHUNK"), help="measure one loss in this process"
    )
    args = arguments.parse_args()
    if args.loss:
        loss_once(*args.loss)
        return
    keep_memory()
    silence()
    refuse_under_load()
    figures: dict[str, object] = {}
    # first: a process begins with the peak of the one that starts it
    for pairs, chunk in [*((p, CHUNK) for p in args.pairs), *((p, p) for p in args.whole)]:
        mebibytes, seconds = measured(pairs, chunk)
        print(f"{pairs} pairs, {chunk} rows of scores at a time: {mebibytes:.0f} MiB, {seconds:.1f} s")
        figures[f"mebibytes_{pairs}_{'whole' if chunk == pairs else 'chunks'}"] = mebibytes
    both, ratios, apart = Pair(args), [], 0.0
    for _ in range(args.runs):
        steps = Alternate(both.bare())
        both.ours(steps)
        ratios.append(sum(steps.seconds["ours"]) / sum(steps.seconds["bare"]))
        apart = max(apart, steps.apart)
    print(f"seconds a step, ours over bare: {median(ratios)}; losses at most {apart:.1e} apart")
    figures |= {"ratio": statistics.median(ratios), "loss_difference": apart}
    report(figures)


if __name__ == "__main__":
    main()
