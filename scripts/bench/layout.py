"""What channels_last and torch.compile give for training a convolutional network and a transformer.

usage: python scripts/bench/layout.py [--steps 15] [--batch 16] [--pixels 224] [--backbones resnet18 tf_efficientnet_lite0 vit_tiny_patch16_224]
All ways of one backbone take turns, step by step, so that they see the same machine; the compiler's time is given apart. The last
line is one JSON object; `ratio` is the best way over the default, geometric mean over backbones, in samples a second.
"""

import math
import statistics
import time

from common import median, parser, refuse_under_load, report, silence

WAYS = {
    "default": {},
    "channels_last": {"channels_last": True},
    "compile": {"compile": True},
    "both": {"channels_last": True, "compile": True},
}


def main() -> None:
    """Time all ways of each backbone."""
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=15)
    arguments.add_argument("--batch", type=int, default=16)
    arguments.add_argument("--pixels", type=int, default=224)
    names = ["resnet18", "tf_efficientnet_lite0", "vit_tiny_patch16_224"]
    arguments.add_argument("--backbones", nargs="+", default=names)
    args = arguments.parse_args()
    refuse_under_load()
    silence()

    import torch

    from lightning_transfer import FinetuneModule, TimmBackbone
    from lightning_transfer.contracts import ImageBatch

    device = "cuda" if torch.cuda.is_available() else "cpu"

    def training(name: str, options: dict[str, bool]) -> "tuple[FinetuneModule, torch.optim.Optimizer]":
        torch.manual_seed(0)
        module = FinetuneModule(TimmBackbone(name, pretrained=False), 10, **options).to(device)
        module.setup("fit")
        return module, torch.optim.SGD(module.parameters(), lr=0.01)

    def step(module: FinetuneModule, optimizer: torch.optim.Optimizer, batch: ImageBatch) -> float:
        begin = time.perf_counter()
        optimizer.zero_grad()
        module.step(batch).loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    figures, best = {}, []
    for name in args.backbones:
        torch.compiler.reset()
        batch = ImageBatch(
            torch.rand(args.batch, 3, args.pixels, args.pixels, device=device),
            torch.randint(10, (args.batch,), device=device),
        )
        runs = {way: training(name, options) for way, options in WAYS.items()}
        first = {way: step(*run, batch) for way, run in runs.items()}
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for i in range(args.steps + 1):
            for way, run in runs.items():
                taken = step(*run, batch)
                if i:  # the second step warms up as well
                    times[way].append(taken)
        figures[name] = {}
        for way, taken in times.items():
            ratios = [a / b for a, b in zip(times["default"], taken, strict=True)]
            rate = args.batch / statistics.median(taken)
            print(
                f"{name:<24} {way:<14} {rate:7.1f} samples a second, {median(ratios, digits=2)} of the default, first step {first[way]:.1f} s",
                flush=True,
            )
            figures[name][way] = round(statistics.median(ratios), 3)
        best.append(max(figures[name].values()))
    report({"ratio": math.prod(best) ** (1 / len(best)), "of_default": figures})


if __name__ == "__main__":
    main()
