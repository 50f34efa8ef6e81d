"""Training through FinetuneModule and Trainer against a bare loop: same model, data and optimiser, same losses.

usage: python scripts/bench/overhead.py [--pairs 3] [--steps 30] [--backbone resnet18]
Pairs alternate; medians are given. The last line is one JSON object; `ratio` is ours over bare in samples a second (bar: 0.97).
"""

import argparse
import json
import logging
import os
import resource
import statistics
import sys
import time
import warnings
from functools import partial


def main() -> None:
    """Time both, pair by pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--backbone", default="resnet18")
    args = parser.parse_args()
    if os.getloadavg()[0] > 0.5 * (os.cpu_count() or 1):
        sys.exit(
            f"the load is {os.getloadavg()[0]:.1f}: other processes would bend the figures; try again when they are done"
        )
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    import torch
    from lightning.pytorch import Callback, Trainer
    from torch.nn.functional import cross_entropy
    from torch.optim import SGD
    from torch.utils.data import DataLoader

    from lightning_transfer import FinetuneModule, Optim, TimmBackbone
    from lightning_transfer.contracts import ImageBatch

    class Clock(Callback):
        """Losses, and the time from after the first step, which warms up, to the last."""

        def __init__(self) -> None:
            self.losses: list[float] = []
            self.begin = self.end = 0.0

        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:  # type: ignore[no-untyped-def]
            self.losses.append(outputs["loss"].item())
            self.end = time.perf_counter()
            self.begin = self.begin or self.end

    torch.manual_seed(0)
    batches = [
        ImageBatch(torch.rand(args.batch, 3, args.pixels, args.pixels), torch.randint(10, (args.batch,)))
        for _ in range(args.steps)
    ]

    def module() -> FinetuneModule:
        torch.manual_seed(1)
        return FinetuneModule(
            TimmBackbone(args.backbone, pretrained=False), 10, Optim(partial(SGD, lr=0.01), schedule=None)
        )

    def ours() -> tuple[float, list[float]]:
        clock = Clock()
        trainer = Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[clock],
        )  # fmt: skip
        trainer.fit(module(), DataLoader(batches, batch_size=None))
        return clock.end - clock.begin, clock.losses

    def bare() -> tuple[float, list[float]]:
        model = module().model.train()
        optimizer, losses, begin = SGD(model.parameters(), lr=0.01), [], 0.0
        for batch in DataLoader(batches, batch_size=None):
            optimizer.zero_grad()
            loss = cross_entropy(model(batch.image).logits, batch.target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            begin = begin or time.perf_counter()
        return time.perf_counter() - begin, losses

    rows = []
    memory = {}
    for name, run in (("bare", bare), ("ours", ours)):
        run()  # warm-up
        memory[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for pair in range(args.pairs):
        order = (bare, ours) if pair % 2 == 0 else (ours, bare)
        results = {run.__name__: run() for run in order}
        apart = max(abs(a - b) for a, b in zip(results["bare"][1], results["ours"][1], strict=True))
        rows.append((results["bare"][0], results["ours"][0], apart))
        print(f"pair {pair + 1}: bare {rows[-1][0]:.2f} s, ours {rows[-1][1]:.2f} s, losses at most {apart:.1e} apart")
    ratios = [b / o for b, o, _ in rows]
    print(
        f"samples a second, ours over bare: median {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )
    print(json.dumps({
        "ratio": round(statistics.median(ratios), 4),
        "loss_difference": max(apart for _, _, apart in rows),
        "memory_ratio": round(memory["ours"] / memory["bare"], 4),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
