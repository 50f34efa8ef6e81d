"""`lightning-transfer probe`: what a linear head or a vote of neighbours makes of a frozen backbone's features."""

import json
import time
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lightning_transfer.backbones import Backbone, as_backbone
from lightning_transfer.contracts import Embedded, Probe
from lightning_transfer.data import ImageData
from lightning_transfer.devices import find_device
from lightning_transfer.features import cached_features
from lightning_transfer.files import whole, write_csv
from lightning_transfer.heads import LinearHead
from lightning_transfer.metrics import usual_metrics
from lightning_transfer.modules import TransferModule
from lightning_transfer.probes import KnnProbe, LogisticProbe, RidgeProbe, SgdProbe
from lightning_transfer.probes.classifier import save_classifier
from lightning_transfer.runs import run_folder
from lightning_transfer.tasks import Task

Row = dict[str, Any]
_SHOWN = (  # the file has all
    *("val/accuracy", "val/map", "val/r2"),
    *("test/accuracy", "test/accuracy_macro", "test/map", "test/ece", "test/mae", "test/rmse", "test/r2"),
)


def probe(
    data: ImageData | None = None,
    backbone: nn.Module | str | None = None,
    ckpt_path: str | None = None,
    probes: list[Probe] | None = None,
    features: str | None = None,
    cache: str = "runs/features",
    device: str = "auto",
    out: str | None = None,
) -> list[Row]:
    """Fit probes on features that a frozen backbone computes once; each split sees the evaluation transform.

    The linear head that is best on validation is written as a checkpoint too, to test, to predict with, or to fine-tune from.

    Args:
        data: the datamodule; that of the checkpoint if not given.
        backbone: a timm name or a backbone.
        ckpt_path: a checkpoint of this package, whose backbone is taken instead.
        probes: all four kinds if not given; for regression `RidgeProbe`, the only one that learns numbers.
        features: a folder for these features alone, with one folder a split; refused if it holds others.
        cache: the folder of all features, where each is found by a key of weights, transform and images.
        device: where features and probes are computed, such as cuda:0; auto takes a GPU if there is one.
        out: the folder of the results; one below runs, or beside the checkpoint, if not given.

    Returns:
        one row a probe: what it chose, its figures on val and test, and the seconds of fitting and choosing

    Raises:
        ValueError: if backbone and checkpoint are both given or neither, or there is no split to measure on.
    """
    if (backbone is None) == (ckpt_path is None):
        raise ValueError(
            "probe needs either a backbone (--backbone TimmBackbone --backbone.name resnet18) or a checkpoint "
            "(--ckpt_path runs/NAME/TIME/best.ckpt)"
        )
    data = data or _own_data(ckpt_path)
    chosen = probes or _usual_probes(data.task)
    for part in chosen:
        if data.task not in part.tasks:  # before the work, not after it
            raise ValueError(
                f"probes: {type(part).__name__} learns {' and '.join(part.tasks)}, but the data is for {data.task}; use RidgeProbe"
            )
    place = find_device(device)
    data.prepare_data()
    frozen = as_backbone(backbone_of(ckpt_path) if backbone is None else backbone, data.image_size).to(place)
    splits = _embed(frozen, data, features, cache, place)
    if not splits.keys() & {"val", "test"}:
        raise ValueError(
            "the data has neither a val nor a test split to measure on; give one, or a test_fraction above 0"
        )
    measured = [_measure(part, splits, data) for part in chosen]
    rows = [row for row, _ in measured]
    folder = Path(out) if out else run_folder("probe", ckpt_path, "probe")
    _write(folder, rows)
    Console().print(_table(rows, f"{ckpt_path or _name(frozen)} on {type(data).__name__}"))
    linear = [(row, head) for row, head in measured if isinstance(head, LinearHead)]
    if linear:
        best, head = max(linear, key=lambda pair: _score(pair[0]))
        save_classifier(frozen, head, data, folder / "probe.ckpt")
        print(f"{best['probe']} is a checkpoint: lightning-transfer test --ckpt_path {folder / 'probe.ckpt'}")
    print(f"written to {folder / 'probe.csv'} and probe.json")
    return rows


def _usual_probes(task: Task) -> list[Probe]:
    kinds: tuple[type[Probe], ...] = (LogisticProbe, SgdProbe, KnnProbe, RidgeProbe)
    return [kind() for kind in kinds if task in kind.tasks]


def backbone_of(ckpt_path: str | None) -> Backbone:
    """Take the backbone out of a checkpoint.

    Raises:
        ValueError: if it has none.
    """
    module = TransferModule.load_from_checkpoint(str(ckpt_path), map_location="cpu")
    backbone = getattr(module.model, "backbone", None)
    if not isinstance(backbone, Backbone):
        raise ValueError(
            f"ckpt_path={ckpt_path!r} holds a {type(module).__name__}, whose model has no backbone to probe"
        )
    return backbone


def _own_data(ckpt_path: str | None) -> ImageData:
    if ckpt_path is None:
        raise ValueError(
            "probe needs data: --data FolderData --data.root photos, or a checkpoint that was trained on some"
        )
    data: ImageData = ImageData.load_from_checkpoint(ckpt_path)
    return data


def _embed(
    backbone: Backbone, data: ImageData, features: str | None, cache: str, device: torch.device
) -> dict[str, Embedded]:
    begin, splits = time.perf_counter(), {}
    for split in data.splits():
        folder = None if features is None else Path(features) / split
        found = cached_features(backbone, data, split, cache, folder)
        splits[split] = found._replace(embedding=found.embedding.to(device), target=found.target.to(device))
    sizes = ", ".join(f"{len(found.target)} {split}" for split, found in splits.items())
    print(f"features of {sizes} images in {time.perf_counter() - begin:.1f} s")
    return splits


def _measure(probe: Probe, splits: dict[str, Embedded], data: ImageData) -> tuple[Row, nn.Module]:
    begin = time.perf_counter()
    fitted = probe.fit(splits["train"], splits.get("val"), data.num_classes)
    row: Row = {"probe": type(probe).__name__, "chosen": fitted.chosen, "seconds": time.perf_counter() - begin}
    for split in ("val", "test"):
        if split in splits:
            figures = _figures(fitted.head, splits[split], data)
            row |= {f"{split}/{name}": value for name, value in figures.items()}
    return row, fitted.head


def _score(row: Row) -> float:
    return next((float(row[name]) for name in ("val/map", "val/accuracy", "val/r2") if name in row), 0.0)


def _figures(head: nn.Module, split: Embedded, data: ImageData) -> dict[str, float]:
    metrics = usual_metrics(data.num_classes, data.task).to(split.target.device)
    target: Tensor = split.target if data.task == "regression" else split.target.long()
    with torch.inference_mode():
        for embedding, part in zip(torch.split(split.embedding, 8192), torch.split(target, 8192), strict=True):
            metrics.update(head(embedding), part)
    return {name: float(value) for name, value in metrics.compute().items()}


def _write(folder: Path, rows: list[Row]) -> None:
    write_csv([row | {"chosen": _chosen(row)} for row in rows], folder / "probe.csv")
    with whole(folder / "probe.json") as partial:
        partial.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _table(rows: list[Row], title: str) -> Table:
    columns = [column for column in _SHOWN if column in rows[0]]
    headings = [column.replace("/", "\n").replace("_", "\n").replace("accuracy", "acc") for column in columns]
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)  # fits into 80 columns
    for heading in ("probe", "chosen", *headings, "seconds"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        chosen = _chosen(row).replace(" ", "\n")
        table.add_row(row["probe"], chosen, *(f"{row[c]:.4f}" for c in columns), f"{row['seconds']:.2f}")
    return table


def _chosen(row: Row) -> str:
    return " ".join(f"{name}={value:g}" for name, value in row["chosen"].items())


def _name(backbone: Backbone) -> str:
    return str(getattr(backbone, "init_args", {}).get("name", type(backbone).__name__))
