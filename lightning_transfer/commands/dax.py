"""`lightning-transfer dax`: this is a dax; which of these are daxes?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torchmetrics.functional.classification import (
    binary_average_precision,
    binary_f1_score,
    binary_precision,
    binary_precision_recall_curve,
    binary_recall,
)

from lightning_transfer.backbones import Backbone, as_backbone
from lightning_transfer.commands.probe import backbone_of
from lightning_transfer.contracts import Episode
from lightning_transfer.data import EpisodeData
from lightning_transfer.data.datasets import EMBEDDING
from lightning_transfer.devices import find_device
from lightning_transfer.features.extract import evaluating
from lightning_transfer.fewshot.distances import prototypes, similarity
from lightning_transfer.files import write_csv
from lightning_transfer.metrics.episodes import half_width
from lightning_transfer.reports.dax import Task, draw_dax
from lightning_transfer.runs import run_folder


class Asked(NamedTuple):
    """Tasks of E episodes, one a way: how much each query is like the way's examples, and whether it is of it.

    Shape:
        score (E, K, Q) in [0, 1], target (E, K, Q) int64
    """

    episode: Episode
    score: Tensor
    target: Tensor


def dax(
    data: EpisodeData,
    backbone: nn.Module | str | None = None,
    ckpt_path: str | None = None,
    rows: int = 6,
    device: str = "auto",
    out: str | None = None,
) -> dict[str, float]:
    """Show one image of a concept and ask of others whether they are the same; each way of an episode is asked about in turn.

    An answer is yes where the cosine of the embeddings is above a threshold: the one of the best F1 over the validation classes, which novel
    classes are then asked with. `dax.csv` has the figures, means over episodes with half the width of their 95 % intervals, and `dax.png`
    shows some tasks.

    Args:
        data: episodes; with shots above 1 the mean embedding of the examples is compared.
        backbone: a timm name or a backbone.
        ckpt_path: a checkpoint of this package, whose backbone is taken instead.
        rows: tasks in the picture, ≥ 1.
        device: where embeddings are computed, such as cuda:0; auto takes a GPU if there is one.
        out: the folder of the results; one below runs, or beside the checkpoint, if not given.

    Returns:
        threshold, precision, recall, f1 and average_precision, and the intervals as `..._ci95`

    Raises:
        ValueError: if backbone and checkpoint are both given or neither, or classes for validation are missing.
    """
    if (backbone is None) == (ckpt_path is None):
        raise ValueError(
            "dax needs either a backbone (--backbone TimmBackbone --backbone.name resnet18) or a checkpoint "
            "(--ckpt_path runs/NAME/TIME/best.ckpt)"
        )
    if rows < 1:
        raise ValueError(f"rows={rows} of the picture must be at least 1")
    place = find_device(device)
    data.prepare_data()
    data.setup("validate")
    data.setup("test")
    frozen = as_backbone(backbone_of(ckpt_path) if backbone is None else backbone, data.image_size).to(place)
    threshold = best_threshold([*_ask(frozen, data, "val", place)])
    novel = [*_ask(frozen, data, "test", place)]
    figures = {"threshold": 2 * threshold - 1} | _measure(novel, threshold)  # as a cosine
    folder = Path(out) if out else run_folder("dax", ckpt_path, "dax")
    write_csv([figures], folder / "dax.csv")
    source = data.sets["test"].source
    draw_dax(_tasks(novel, threshold, data.all_class_names)[:rows], source.image, folder / "dax.png")
    Console().print(
        _table(figures, f"{len(novel[0].target[0])} ways, {data.shape.shots} shots, {data.counts['test']} episodes")
    )
    print(f"written to {folder / 'dax.csv'} and dax.png")
    return figures


def _ask(backbone: Backbone, data: EpisodeData, split: str, device: torch.device) -> Iterator[Asked]:
    images = data.sets[split]
    versions = images.versions or 1
    with evaluating(backbone), torch.inference_mode():
        found = [
            backbone(batch.image.to(device)).embedding.float().cpu()
            for batch in data.numbered(images, range(versions * len(images)))
        ]
    images.embed(torch.cat(found).view(versions, len(images), -1))
    for episode in data.val_dataloader() if split == "val" else data.test_dataloader():
        labels = one_hot(episode.support.target).float()
        examples = prototypes(episode.support.modalities[EMBEDDING], labels)
        cosine = similarity(episode.query.modalities[EMBEDDING], examples, "cosine")
        ways = torch.arange(labels.shape[-1]).view(1, -1, 1)
        # in [0, 1], beyond which torchmetrics would take scores for logits
        yield Asked(
            episode, ((1 + cosine) / 2).clamp(0, 1).transpose(1, 2), (episode.query.target.unsqueeze(1) == ways).long()
        )


def best_threshold(asked: list[Asked]) -> float:
    """The score above which answers of yes have the best F1, over all tasks; halfway between two that occur."""
    score, target = (
        torch.cat([part.flatten() for part in parts]) for parts in zip(*(a[1:] for a in asked), strict=True)
    )
    precision, recall, thresholds = binary_precision_recall_curve(score, target)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-9)
    best = int(f1[:-1].argmax())
    below = thresholds[max(best - 1, 0)] if best else thresholds[0] - 1e-6
    return float((thresholds[best] + below) / 2)


def _measure(asked: list[Asked], threshold: float) -> dict[str, float]:
    """Means over episodes, where an episode's tasks count together; average precision is the mean over its tasks."""
    kinds = {"precision": binary_precision, "recall": binary_recall, "f1": binary_f1_score}
    each: dict[str, list[Tensor]] = {name: [] for name in (*kinds, "average_precision")}
    for _, score, target in asked:
        said = (score > threshold).long()
        for name, measure in kinds.items():
            found = measure(said.flatten(1), target.flatten(1), multidim_average="samplewise")
            each[name].append(found.view(-1))  # of one episode torchmetrics makes a scalar
        of_tasks = [
            binary_average_precision(s, t) for s, t in zip(score.flatten(0, 1), target.flatten(0, 1), strict=True)
        ]
        each["average_precision"].append(torch.stack(of_tasks).view(target.shape[:2]).mean(dim=1))
    figures: dict[str, float] = {}
    for name, values in each.items():
        joined = torch.cat(values)
        figures |= {name: float(joined.mean()), f"{name}_ci95": float(half_width(joined))}
    return figures


def _tasks(asked: list[Asked], threshold: float, names: list[str]) -> list[Task]:
    """The first way of each of the first episodes, for the picture; its queries as they were drawn, but for their order."""
    found: list[Task] = []
    for episode, score, target in asked:
        for e in range(len(score)):
            order = torch.randperm(target.shape[-1], generator=torch.Generator().manual_seed(len(found)))
            support, query = episode.support.indices, episode.query.indices
            assert support is not None  # ours are numbered
            assert query is not None
            example = support[e][episode.support.target[e] == 0][0]
            parts: Any = (query[e], 2 * score[e, 0] - 1, score[e, 0] > threshold, target[e, 0] == 1)
            found.append(
                Task(names[int(episode.classes[e, 0])], int(example), *(part[order].tolist() for part in parts))
            )
    return found


def _table(figures: dict[str, float], title: str) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD)
    for heading in ("novel classes", "mean", "± 95 %"):
        table.add_column(heading)
    for name, value in figures.items():
        if not name.endswith("_ci95"):
            half = figures.get(f"{name}_ci95")
            table.add_row(name.replace("_", " "), f"{value:.4f}", "" if half is None else f"{half:.4f}")
    return table
