"""How fast networks of floating-point numbers and of 8-bit integers are: eager, compiled, in ONNX Runtime and in OpenVINO.

usage: python scripts/bench/int8_speed.py [--models tf_efficientnet_lite0 resnet18] [--side 224] [--batch 16] [--rounds 9] [--no_compile] [--busy]
Weights and images are random. All ways take turns in each round, with as many threads as torch; what is told
is the median over rounds of the ratio to eager float32, and of integers to the same runtime's float32, with the range from the least to the
greatest. Bars: integers 1.6 (ONNX Runtime) and 1.75 (OpenVINO) over the same runtime's float32, 5 over eager. The last line is one JSON object.
"""

from argparse import Namespace
from collections.abc import Callable
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import parser, refuse_under_load, report, silence

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.compression.timing import Timing, time_beside
from lightning_transfer.data import EvalTransform
from lightning_transfer.exports import Deployed, Int8Export, IntegerExport, OpenvinoInt8Export

CLASSES, CALIBRATION = 1000, 16
EAGER = "eager float32"


def ways_of(name: str, args: Namespace, folder: Path) -> dict[str, Callable[[], Any]]:
    """Calls by name, each on the same batch: a network with the preparation of its images in front."""
    torch.manual_seed(0)
    module = FinetuneModule(TimmBackbone(name, pretrained=False), CLASSES, image_size=args.side)
    torch.nn.init.normal_(module.model.head.weight)  # it begins at zero, and what adds nothing a runtime leaves out
    for norm in module.modules():  # timm begins some of these at zero, too
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(norm.weight)
    model = Deployed(module, EvalTransform(args.side, crop=1.0))
    images = torch.randint(0, 256, (max(args.batch, CALIBRATION), 3, args.side, args.side), dtype=torch.uint8)
    batch = images[: args.batch]
    laid_out = deepcopy(model).to(memory_format=torch.channels_last)
    torched = {EAGER: model, "eager channels last": laid_out}
    if not args.no_compile:
        torched["compiled"] = torch.compile(model)  # type: ignore[assignment]
    ways: dict[str, Callable[[], Any]] = {way: inferring(network, batch) for way, network in torched.items()}
    forms: list[type[IntegerExport]] = [Int8Export]
    if find_spec("nncf") and find_spec("openvino"):
        forms.append(OpenvinoInt8Export)
    for kind in forms:
        form = kind()
        path = folder / f"{name}-{form.runtime}{form.suffix}"
        form.see([*images[:CALIBRATION]])
        form.write(model, path)
        for numbers, written in (("float32", form.twin), ("int8", path)):
            run = form.plain.load(written, torch.get_num_threads())
            ways[f"{form.runtime} {numbers}"] = lambda run=run, form=form: run(batch)  # noqa: ARG005  # the form owns the files
    return ways


def inferring(network: Any, batch: torch.Tensor) -> Callable[[], Any]:
    def call() -> Any:
        with torch.inference_mode():
            return network(batch)

    return call


def told(timings: dict[str, Timing]) -> dict[str, float]:
    """Print a table of ratios, and return the medians."""
    found: dict[str, float] = {}
    for way, timing in timings.items():
        middle, low, high = timing.ratio
        line = f"  {way:<22}{timing.milliseconds:>9.1f} ms  {middle:>6.2f} ({low:.2f} to {high:.2f})"
        found[way] = middle
        twin = timings.get(way.replace("int8", "float32"))
        if way.endswith("int8") and twin is not None:
            middle, low, high = timing.times_as_fast(twin)
            line += f"  {middle:>6.2f} ({low:.2f} to {high:.2f})"
            found[f"{way} over float32"] = middle
        print(line, flush=True)
    return found


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--models", nargs="+", default=["tf_efficientnet_lite0", "resnet18"])
    arguments.add_argument("--side", type=int, default=224, help="of the images in pixels")
    arguments.add_argument("--batch", type=int, default=16)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--no_compile", action="store_true", help="leave torch.compile out")
    arguments.add_argument("--busy", action="store_true", help="measure although other processes are running")
    args = arguments.parse_args()
    silence()
    if not args.busy:
        refuse_under_load()
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "batch": args.batch, "side": args.side}
    for name in args.models:
        print(f"{name}: time, times as fast as {EAGER}, times as fast as the same runtime's float32")
        with TemporaryDirectory() as folder:
            timings = time_beside(ways_of(name, args, Path(folder)), args.rounds)
        figures[name] = {way: round(value, 3) for way, value in told(timings).items()}
    report(figures)


if __name__ == "__main__":
    main()
