"""How fast a network is whose channels were taken out, by what number the kept ones are a multiple of.

usage: python scripts/bench/channels_speed.py [--model tf_efficientnet_lite0] [--side 64] [--ratios 0.3 0.5] [--multiples 1 8 16] [--rounds 50] [--busy]
Weights are random, and channels go by magnitude, the same share of each layer. All networks take turns in each round, for one image on one
thread of ONNX Runtime; what is told is the median over rounds and of the ratio to the whole network, with the range from the least to the
greatest. The last line is one JSON object.
"""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import parser, refuse_under_load, report, silence

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.compression.channels import remove_channels
from lightning_transfer.compression.timing import time_beside
from lightning_transfer.data import EvalTransform
from lightning_transfer.exports import Deployed, OnnxExport

WHOLE = "all channels"


def networks(args: Namespace) -> dict[str, FinetuneModule]:
    """The whole network, and those without a share of its channels."""
    image = torch.rand(1, 3, args.side, args.side)

    def fresh() -> FinetuneModule:
        torch.manual_seed(0)
        return FinetuneModule(TimmBackbone(args.model, pretrained=False), 10, image_size=args.side).eval()

    made = {WHOLE: fresh()}
    for ratio in args.ratios:
        for multiple in args.multiples:
            module = fresh()
            remove_channels(module.model, image, ratio, round_to=multiple)
            made[f"{100 * ratio:g} % fewer, multiples of {multiple}"] = module
    return made


def running(module: FinetuneModule, path: Path, side: int) -> Callable[[], Any]:
    """A call of the network in ONNX Runtime."""
    form = OnnxExport()
    form.write(Deployed(module, EvalTransform(side, crop=1.0)), path)
    run = form.load(path, 1)
    image = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    return lambda: run(image)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--model", default="tf_efficientnet_lite0")
    arguments.add_argument("--side", type=int, default=64, help="of the image in pixels")
    arguments.add_argument("--ratios", type=float, nargs="+", default=[0.3, 0.5], help="of the channels that go")
    arguments.add_argument("--multiples", type=int, nargs="+", default=[1, 8, 16])
    arguments.add_argument("--rounds", type=int, default=50)
    arguments.add_argument("--busy", action="store_true", help="measure although other processes are running")
    args = arguments.parse_args()
    silence()
    if not args.busy:
        refuse_under_load()
    with TemporaryDirectory() as folder:
        made = networks(args)
        sizes = {name: sum(p.numel() for p in module.model.parameters()) for name, module in made.items()}
        ways = {
            name: running(module, Path(folder) / f"{number}.onnx", args.side)
            for number, (name, module) in enumerate(made.items())
        }
        timings = time_beside(ways, args.rounds)
    figures: dict[str, Any] = {}
    for name, timing in timings.items():
        middle, low, high = timing.ratio
        print(
            f"{name:<28}{sizes[name]:>10} parameters{timing.milliseconds:>8.2f} ms  {middle:>6.2f} ({low:.2f} to {high:.2f})"
        )
        figures[name] = {"parameters": sizes[name], "ms": round(timing.milliseconds, 3), "ratio": round(middle, 3)}
    report(figures)


if __name__ == "__main__":
    main()
