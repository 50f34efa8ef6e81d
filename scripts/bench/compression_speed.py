"""What the exact order of optimal brain surgeon costs over a layer's inputs, and beside the code that its authors published.

usage: python scripts/bench/compression_speed.py [--columns 72 144 288 576 1152] [--runs 3] [--obc FOLDER] [--out runs/compression_speed] [--busy]
32 rows of a 3x3 convolution whose inputs are correlated and rectified, pruned to the last weight; 2:4; rounded to 4 bits by OBQ. Seconds on
log-log axes are drawn as cost.png below --out, and `exponent` is the slope from the second largest layer to the largest. FOLDER holds the
published code (github.com/IST-DASLab/OBC), which runs beside ours by turns up to 288 inputs: `ratio` is its seconds over ours (bar: 1.0), `same`
the share of weights that both make zero, or round alike. The last line is one JSON object.
"""

import io
import math
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from common import median, parser, refuse_under_load, report, silence
from torch import Tensor, nn

from lightning_transfer.compression import NM, OBQ, ExactOBS, LayerRows, Unstructured
from lightning_transfer.compression.hessian import Hessian
from lightning_transfer.compression.rows import neighbours, weight_rows

ROWS, PUBLISHED = 32, 288  # beyond, a run of the published code takes minutes


def layer_of(columns: int) -> tuple[nn.Conv2d, Tensor]:
    """A convolution with so many inputs, and images for it."""
    torch.manual_seed(columns)
    channels = columns // 9
    mixing = torch.randn(channels, channels) / math.sqrt(channels)
    images = torch.einsum("oc,bchw->bohw", mixing, torch.randn(64, channels, 12, 12)).relu()
    return nn.Conv2d(channels, ROWS, 3, padding=1, bias=False), images


def known(layer: nn.Conv2d, images: Tensor) -> LayerRows:
    hessian = Hessian(layer)
    hessian.add(images)
    return LayerRows("layer", weight_rows(layer), hessian.matrix(), neighbours(layer))


def ours(rows: LayerRows) -> dict[str, Callable[[], Any]]:
    half = Unstructured(0.5)
    return {
        "full order": lambda: ExactOBS(half, damping=0).trace(rows),
        "2:4": lambda: ExactOBS(NM(2, 4), damping=0, max_columns=rows.weight.shape[2])(rows),
        "OBQ": lambda: OBQ(4, damping=0)(rows),
    }


def published(layer: nn.Conv2d, images: Tensor, folder: Path) -> dict[str, Callable[[], Any]]:
    """The same by the authors' code, which asks for a GPU only to wait for it."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    from quant import Quantizer
    from trueobs import TrueOBS

    torch.cuda.synchronize = lambda *_: None  # type: ignore[assignment]

    def fresh() -> Any:
        copy = nn.Conv2d(layer.in_channels, ROWS, 3, padding=1, bias=False)
        copy.load_state_dict(layer.state_dict())
        solver = TrueOBS(copy)
        solver.add_batch(images, None)
        solver.quantizer = Quantizer()
        solver.quantizer.configure(4, perchannel=True, sym=True, mse=True)
        return solver

    solvers = {name: fresh() for name in ("full order", "2:4", "OBQ")}
    dense = layer.weight.data

    def run(name: str, method: str) -> Any:
        solver = solvers[name]
        solver.layer.weight.data = dense.clone()
        with torch.no_grad(), redirect_stdout(io.StringIO()):
            getattr(solver, method)()
        return solver

    return {
        "full order": lambda: run("full order", "prepare_unstr"),
        "2:4": lambda: run("2:4", "nmprune"),
        "OBQ": lambda: run("OBQ", "quantize"),
    }


def same(name: str, layer: nn.Conv2d, mine: Any, theirs: Any) -> float:
    """Share of weights that both treat alike."""
    if name == "full order":  # zeros of each row after half of its steps
        steps = mine.order.shape[1] // 2
        zeros = torch.zeros_like(mine.order, dtype=torch.bool).scatter_(1, mine.order[:, :steps], True)
        dense = torch.cat([trace[steps] for trace in theirs.Traces]) == 0  # by channel first, then by place
        return (zeros == by_place(dense.view(layer.weight.shape))).double().mean().item()
    weight = by_place(theirs.layer.weight.data.view(layer.weight.shape))
    if name == "2:4":
        return ((mine[0] == 0) == (weight == 0)).double().mean().item()
    return torch.isclose(mine[0].float(), weight, atol=1e-4).double().mean().item()


def by_place(weight: Tensor) -> Tensor:
    """(R, C, k, k) as rows, place first and channel within it."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    found = run()
    return time.perf_counter() - begin, found


def measured(args: Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for columns in args.columns:
        layer, images = layer_of(columns)
        rows = known(layer, images)
        beside = published(layer, images, args.obc) if args.obc is not None and columns <= PUBLISHED else {}
        for name, run in ours(rows).items():
            times: list[tuple[float, float]] = []
            for _ in range(args.runs):
                mine = timed(run)
                theirs = timed(beside[name]) if beside else (math.nan, None)
                times.append((mine[0], theirs[0]))
            line = f"{name:<12} d={columns:<5} {median([a for a, _ in times], ' s')}"
            found[f"{name} {columns} s"] = statistics.median(a for a, _ in times)
            if beside:
                ratio = [b / a for a, b in times]
                alike = same(name, layer, mine[1], theirs[1])
                line += f", published {median([b for _, b in times], ' s')}, ratio {median(ratio)}, same {alike:.4f}"
                found |= {f"{name} {columns} ratio": statistics.median(ratio), f"{name} {columns} same": alike}
            print(line, flush=True)
    return found


def draw(found: dict[str, Any], columns: list[int], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, mark in (("full order", "o"), ("OBQ", "s"), ("2:4", "^")):
        axes.plot(columns, [found[f"{name} {d} s"] for d in columns], marker=mark, label=name)
    first, last = columns[0], columns[-1]
    end = found[f"full order {last} s"]
    axes.plot([first, last], [end * (first / last) ** 3, end], "k:", label="d³")
    axes.set(xscale="log", yscale="log", xlabel="inputs d of the layer", ylabel=f"seconds for {ROWS} rows")
    axes.set_xticks(columns, [str(d) for d in columns])
    axes.minorticks_off()
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--columns", type=int, nargs="+", default=[72, 144, 288, 576, 1152])
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--obc", type=Path, help="folder of the published code")
    arguments.add_argument("--out", type=Path, default=Path("runs/compression_speed"))
    arguments.add_argument("--busy", action="store_true", help="measure although other processes are running")
    args = arguments.parse_args()
    if bad := [d for d in args.columns if d % 36]:
        arguments.error(f"--columns {bad[0]}: 3x3 kernels and groups of four need multiples of 36")
    silence()
    if not args.busy:
        refuse_under_load()
    found = measured(args)
    large = sorted(args.columns)[-2:]
    if len(large) == 2:
        a, b = large
        found["exponent"] = math.log(found[f"full order {b} s"] / found[f"full order {a} s"]) / math.log(b / a)
    draw(found, sorted(args.columns), args.out / "cost.png")
    report(found)


if __name__ == "__main__":
    main()
