"""Writes what `predict` found to a file."""

import csv
import json
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, distributed

from lightning_transfer.contracts import ImageBatch, TextBatch
from lightning_transfer.extras import load_extra
from lightning_transfer.files import whole
from lightning_transfer.parts import Part

Row = dict[str, Any]


class PredictionWriter(Part, Callback):
    """One row an image or text: path, class, probability, and the next most probable classes with theirs.

    A model that says its answers has a row of path, answer and all that it said. With several labels an image, `class` joins by `|` all classes of probability 0.5 and more. For regression a row has the path
    and one column a target, named like it.

    Args:
        path: file to write; its ending chooses CSV (`.csv`), JSON lines (`.jsonl`) or Parquet (`.parquet`). On the command line
            `predictions.csv` in the run's folder if not given.
        top_k: how many classes a row names.

    Raises:
        ValueError: for another ending, or fewer than one class.
        ModuleNotFoundError: for Parquet without pyarrow.
    """

    def __init__(self, path: str | None = None, top_k: int = 5) -> None:
        if path is not None and Path(path).suffix not in _WRITERS:
            raise ValueError(f"predictions.path={path!r} must end in {', '.join(_WRITERS)}")
        if top_k < 1:
            raise ValueError(f"predictions.top_k={top_k} must be at least 1")
        self.path = path
        self.top_k = top_k
        self.rows: list[Row] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.rows = []
        if self.path and Path(self.path).suffix == ".parquet":
            _pyarrow()  # fail before the work, not after it

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        answer, described = outputs
        if not isinstance(answer, Tensor):  # of texts
            self.rows += [{"path": path} | row for path, row in zip(described.name, answer, strict=True)]
            return
        describe = self._values if pl_module.task == "regression" else self._describe
        self.rows += describe(answer.cpu(), described, pl_module)

    def _values(self, value: Tensor, batch: ImageBatch, module: Any) -> list[Row]:
        names = module.answer_names()
        each = zip(batch.name, value.tolist(), strict=True)
        # seven digits are what a float holds
        return [{"path": path} | {n: float(f"{v:.7g}") for n, v in zip(names, of, strict=True)} for path, of in each]

    def _describe(self, probability: Tensor, batch: ImageBatch | TextBatch, module: Any) -> list[Row]:
        names = module.answer_names()
        values, classes = probability.topk(min(self.top_k, len(names)), dim=-1)
        rows = []
        for i, path in enumerate(batch.name):
            row: Row = {"path": path, "class": names[classes[i, 0]], "probability": round(values[i, 0].item(), 6)}
            if module.task == "multi_label":
                row["class"] = "|".join(names[k] for k in torch.nonzero(probability[i] >= 0.5).flatten().tolist())
            first = 0 if module.task == "multi_label" else 1
            for k in range(first, classes.shape[1]):
                row[f"class_{k + 1}"] = names[classes[i, k]]
                row[f"probability_{k + 1}"] = round(values[i, k].item(), 6)
            rows.append(row)
        return rows

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rows = self._gather(trainer)
        if self.path is None or not trainer.is_global_zero:
            return
        path = Path(self.path)
        with whole(path) as partial:
            _WRITERS[path.suffix](rows, partial)

    def _gather(self, trainer: Trainer) -> list[Row]:
        """All ranks' rows in the data's order: the sampler deals samples out in turn, so the ranks' rows are taken in turn."""
        if trainer.world_size == 1:
            return self.rows
        of_ranks: list[Any] = [None] * trainer.world_size
        distributed.all_gather_object(of_ranks, self.rows)
        return [row for row in chain(*zip_longest(*of_ranks)) if row is not None]


def _pyarrow() -> Any:
    return load_extra("parquet", "Parquet needs pyarrow", "pyarrow", "pyarrow.parquet")


def _write_csv(rows: list[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["path", "class", "probability"])
        writer.writeheader()
        writer.writerows(rows)


def _write_json_lines(rows: list[Row], path: Path) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _write_parquet(rows: list[Row], path: Path) -> None:
    arrow = _pyarrow()
    arrow.parquet.write_table(arrow.Table.from_pylist(rows), path)


_WRITERS = {".csv": _write_csv, ".jsonl": _write_json_lines, ".parquet": _write_parquet}
