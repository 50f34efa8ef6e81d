"""SimCLR through ContrastiveModule and Trainer against a bare loop of the same step, and against lightly's.

usage: pip install lightly
       python scripts/bench/contrastive_speed.py [--steps 30] [--runs 5] [--batch 128] [--pixels 32] [--backbone resnet18]
Each step of the Trainer is followed by the same step of the other way, on the same two views of the same images, so that both see the
same machine: a bare loop with our parts and no probe, then lightly's projection head and loss in the module of its own examples, where
each view is a pass of its own; as it is, and once with channels last, as our modules are. Lightly is left out where it is not installed. What
the probe and the terms that tell a collapse cost is measured against the same bare loop. The last line is one JSON object; `ours_over_bare`
is in seconds a step (bar: 1.03), `ours_over_lightly` in samples a second (bar: 1.0).
"""

import statistics
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from common import keep_memory, median, one_epoch, parser, refuse_under_load, report, silence
from overhead import Alternate
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader

from lightning_transfer import ContrastiveModule, Optim, TimmBackbone
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.losses.pair import NTXent
from lightning_transfer.projectors import MLPProjector

TEMPERATURE, RATE, HIDDEN, WIDTH = 0.5, 0.01, 512, 128


class Ways:
    """The same training in several ways."""

    def __init__(self, args: Namespace) -> None:
        self.name = args.backbone
        torch.manual_seed(0)
        size = (args.batch, 3, args.pixels, args.pixels)
        self.batches = [
            ImageBatch(torch.rand(size), torch.randint(10, (args.batch,)), modalities={"view_2": torch.rand(size)})
            for _ in range(args.steps)
        ]

    def backbone(self) -> TimmBackbone:
        torch.manual_seed(1)
        return TimmBackbone(self.name, pretrained=False)

    def module(self, probe: bool = False) -> ContrastiveModule:
        projector = partial(MLPProjector, hidden=HIDDEN, out_features=WIDTH)
        optim = Optim(partial(SGD, lr=RATE), schedule=None)
        return ContrastiveModule(self.backbone(), NTXent(TEMPERATURE), 10, projector, probe=probe, optim=optim)

    def bare(self) -> Iterator[float]:
        """Both views in one pass, as ours."""
        module = self.module()
        backbone = module.model.backbone.train().to(memory_format=torch.channels_last)
        parts = nn.ModuleList([backbone, module.projector])
        yield from self.loop(parts, torch.channels_last, lambda views: self._at_once(parts, module.loss, views))

    def _at_once(self, parts: nn.ModuleList, loss: nn.Module, views: list[Tensor]) -> Tensor:
        projected = parts[1](parts[0](torch.cat(views)).embedding)
        found: Tensor = loss(projected.chunk(len(views)), [], torch.zeros(len(views[0])))
        return found

    def lightly(self, layout: torch.memory_format) -> Iterator[float]:
        """Lightly's parts, in the step of its examples."""
        from lightly.loss import NTXentLoss  # type: ignore[import-not-found]
        from lightly.models.modules import SimCLRProjectionHead  # type: ignore[import-not-found]

        backbone = self.backbone()
        parts = nn.ModuleList([backbone, SimCLRProjectionHead(backbone.num_features, HIDDEN, WIDTH)])
        criterion = NTXentLoss(TEMPERATURE)
        parts.train().to(memory_format=layout)
        yield from self.loop(parts, layout, lambda v: criterion(*(parts[1](parts[0](view).embedding) for view in v)))

    def loop(
        self, parts: nn.Module, layout: torch.memory_format, loss_of: Callable[[list[Tensor]], Tensor]
    ) -> Iterator[float]:
        """A step a batch."""
        optimizer = SGD(parts.parameters(), lr=RATE)
        for batch in DataLoader(self.batches, batch_size=None):  # type: ignore[arg-type]  # a list serves
            optimizer.zero_grad()
            loss = loss_of(
                [view.contiguous(memory_format=layout) for view in (batch.image, batch.modalities["view_2"])]
            )
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield loss.item()

    def seconds(self, other: Iterator[float], probe: bool = False) -> tuple[float, float, float]:
        """Medians of a step of ours and of the other way, and how far their losses were apart."""
        steps = Alternate(other)
        one_epoch(self.module(probe), self.batches, steps)
        return statistics.median(steps.seconds["ours"]), statistics.median(steps.seconds["bare"]), steps.apart


def others(ways: Ways) -> dict[str, tuple[Callable[[], Iterator[float]], bool]]:
    """What ours is compared with, and whether ours has its probe then."""
    found: dict[str, tuple[Callable[[], Iterator[float]], bool]] = {
        "bare": (ways.bare, False),
        "bare, ours with probe": (ways.bare, True),
    }
    try:
        import lightly  # noqa: F401
    except ImportError:
        print("lightly is not installed and left out: pip install lightly")
        return found
    return found | {
        "lightly": (partial(ways.lightly, torch.contiguous_format), False),
        "lightly, channels last": (partial(ways.lightly, torch.channels_last), False),
    }


def main() -> None:
    """Time ours beside each other way."""
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=30)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--batch", type=int, default=128)
    arguments.add_argument("--pixels", type=int, default=32)
    arguments.add_argument("--backbone", default="resnet18")
    args = arguments.parse_args()
    keep_memory()
    silence()
    refuse_under_load()
    ways = Ways(args)
    ratios: dict[str, list[float]] = {}
    figures: dict[str, Any] = {"loss_difference": 0.0}
    for run in range(args.runs):
        for name, (other, probe) in others(ways).items():
            ours, theirs, apart = ways.seconds(other(), probe)
            ratios.setdefault(name, []).append(ours / theirs)
            print(f"run {run + 1}: a step {1000 * ours:.0f} ms, {name} {1000 * theirs:.0f} ms", flush=True)
            if name == "bare":
                figures["loss_difference"] = max(figures["loss_difference"], apart)
    for name, values in ratios.items():
        in_samples = name.startswith("lightly")
        shown = [1 / value for value in values] if in_samples else values
        print(f"{'samples a second' if in_samples else 'seconds a step'}, ours over {name}: {median(shown)}")
        figures[f"ours_over_{name}"] = statistics.median(shown)
    report(figures)


if __name__ == "__main__":
    main()
