"""What a compression cost and what it brought: the network before and after, on the same images and in the same minutes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lightning_transfer.compression.macs import count_macs
from lightning_transfer.compression.size import stored_bytes
from lightning_transfer.compression.timing import Timing, time_beside
from lightning_transfer.contracts import Scored
from lightning_transfer.data import ImageData
from lightning_transfer.files import whole
from lightning_transfer.metrics.bootstrap import Interval, bootstrap
from lightning_transfer.metrics.weighted import weighted_metrics
from lightning_transfer.metrics.weighted_errors import weighted_errors
from lightning_transfer.modules import TransferModule
from lightning_transfer.reports.score import score, tested

_SHOWN = ("accuracy", "ece", "nll", "mae", "rmse", "r2")
_BATCH = 32


def compared(
    before: Scored, after: Scored, names: list[str], regression: bool, resamples: int, level: float, seed: int
) -> dict[str, dict[str, Interval]]:
    """Metrics of both networks, and the change from one to the other over the same resamples, with intervals.

    Args:
        before: what the dense network says.
        after: what the compressed one says of the same images in the same order.
        names: of classes or targets.
        regression: whether targets are numbers.
        resamples: of the bootstrap.
        level: of the intervals.
        seed: of the bootstrap.
    """

    def prepare(scored: Scored) -> Callable[[Tensor], Mapping[str, Tensor]]:
        if regression:
            return weighted_errors(scored.logits, scored.target, names)
        return weighted_metrics(scored.logits, scored.target)

    dense, compressed = prepare(before), prepare(after)

    def change(counts: Tensor) -> dict[str, Tensor]:
        first, second = dense(counts), compressed(counts)
        return {name: second[name] - first[name] for name in first}

    def intervals(measure: Callable[[Tensor], Mapping[str, Tensor]], biased: tuple[str, ...]) -> dict[str, Interval]:
        return bootstrap(measure, len(before.target), before.group, resamples, level, seed, biased)

    return {
        "dense": intervals(dense, ("ece",)),
        "compressed": intervals(compressed, ("ece",)),
        "change": intervals(change, ()),
    }


@torch.no_grad()
def timed(dense: nn.Module, compressed: nn.Module, image: Tensor, rounds: int) -> dict[str, dict[str, Any]]:
    """Latency of one image in milliseconds, images a second in batches of 32, and the ratios of both to the dense network.

    Args:
        dense: in evaluation mode, on the image's device.
        compressed: likewise.
        image: (1, C, H, W).
        rounds: of each.
    """
    batch = image.expand(_BATCH, -1, -1, -1).contiguous()
    ways = {"dense": dense, "compressed": compressed}
    one = time_beside({name: _call(way, image) for name, way in ways.items()}, rounds)
    many = time_beside({name: _call(way, batch) for name, way in ways.items()}, rounds)
    return {name: _figures(one[name], many[name]) for name in ways}


def _call(way: nn.Module, image: Tensor) -> Callable[[], Any]:
    return lambda: way(image)


def _figures(one: Timing, many: Timing) -> dict[str, Any]:
    return {
        "latency_ms": one.milliseconds,
        "latency_ratio": one.ratio,
        "images_per_second": 1e3 * _BATCH / many.milliseconds,
        "throughput_ratio": many.ratio,
    }


def sizes(model: nn.Module) -> dict[str, Any]:
    """Parameters; with statistics of norms, weights and those other than zero; and bytes."""
    state = model.state_dict()
    weights = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "weights": sum(tensor.numel() for tensor in weights.values()),
        "nonzero": sum(int(tensor.count_nonzero()) for tensor in weights.values()),
        **stored_bytes(state),
    }


class Judge:
    """Measures compressed networks beside the dense one, which is asked about each split once.

    Args:
        dense: in evaluation mode, on the device.
        data: brings the splits.
        place: where to compute.
        resamples: of the bootstrap.
        level: of the intervals.
        seed: of the bootstrap.
    """

    def __init__(
        self, dense: TransferModule, data: ImageData, place: torch.device, resamples: int, level: float, seed: int
    ) -> None:
        self.dense = dense
        self.data = data
        self.place = place
        self.bootstrap = (resamples, level, seed)
        self._known: dict[str, Scored] = {}

    def __call__(self, module: TransferModule, split: Literal["val", "test"]) -> dict[str, dict[str, Interval]]:
        """Metrics of `dense` and `compressed` on a split, and their `change`, with intervals."""
        loader = self._loader(split)
        if split not in self._known:
            self._known[split] = score(self.dense.eval(), loader, self.place, split == "test")
        itself = module is self.dense
        after = self._known[split] if itself else score(module.eval(), loader, self.place, split == "test")
        return compared(self._known[split], after, self.data.class_names, module.task == "regression", *self.bootstrap)

    def all_figures(self, module: TransferModule, rounds: int) -> dict[str, dict[str, Any]]:
        """Metrics on the test split, sizes and times of `dense` and `compressed`, and the `change` of the metrics."""
        found = self(module, "test")
        image = next(iter(self._loader("test"))).image[:1].to(self.place)
        clock = timed(self.dense, module, image, rounds)
        figures: dict[str, dict[str, Any]] = {
            name: {**sizes(of.model), "macs": count_macs(of, image), **clock[name], "metrics": found[name]}
            for name, of in {"dense": self.dense, "compressed": module}.items()
        }
        return figures | {"change": {"metrics": found["change"]}}

    def require(self, metric: str) -> None:
        """Refuse what is not measured.

        Raises:
            ValueError: naming what is.
        """
        known = self(self.dense, "val")["dense"]
        if metric not in known:
            raise ValueError(f"bound.metric={metric!r} is not measured; these are: {', '.join(known)}")

    def _loader(self, split: Literal["val", "test"]) -> Any:
        self.data.setup("validate" if split == "val" else "test")
        if split == "val":
            return self.data.val_dataloader()
        return tested(self.data)["test"]


def require_split(data: ImageData, split: Literal["val", "test"], reason: str) -> None:
    """Refuse data without a split, before anything is computed.

    Raises:
        ValueError: saying what would do.
    """
    if split not in data.splits():
        raise ValueError(f"the data has no {split} split {reason}; give one, or a {split}_fraction above 0")


def write_report(path: Path, figures: Mapping[str, Mapping[str, Any]], **also: Any) -> None:
    """Write what `Judge` found as JSON, beside what the network was made of and what else there is to say."""
    plain = {
        name: {**of, "metrics": {metric: interval._asdict() for metric, interval in of["metrics"].items()}}
        for name, of in figures.items()
    }
    with whole(path) as partial:
        partial.write_text(json.dumps({**also, **plain}, indent=1), encoding="utf-8")


def show(figures: Mapping[str, Mapping[str, Any]], title: str, level: float) -> None:
    """Print dense and compressed side by side."""
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("", "dense", "compressed"):
        table.add_column(heading)
    dense, compressed = figures["dense"], figures["compressed"]
    rows: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "weights other than zero": lambda of: f"{of['nonzero']:,} of {of['weights']:,}",
        "MB, as stored and packed": lambda of: f"{of['bytes'] / 1e6:.2f}, {of['packed_bytes'] / 1e6:.2f}",
        "million multiplications and additions": lambda of: f"{of['macs'] / 1e6:.2f}",
        "ms for one image": lambda of: f"{of['latency_ms']:.2f}",
        "images a second": lambda of: f"{of['images_per_second']:.0f}",
        "times as fast as dense": lambda of: "{:.2f} ({:.2f} to {:.2f})".format(*of["throughput_ratio"]),
    }
    for name, write in rows.items():
        table.add_row(name, write(dense), write(compressed))
    for name in [name for name in _SHOWN if name in dense["metrics"]]:
        table.add_row(f"{name}, {level:.0%} interval", *(_interval(of["metrics"][name]) for of in (dense, compressed)))
    Console().print(table)


def _interval(of: Interval) -> str:
    return f"{of.value:.4f} ({of.low:.4f} to {of.high:.4f})"
