"""What a datamodule says of its samples when a training starts."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from torch import Tensor

from lightning_transfer.data.division import Divisible
from lightning_transfer.data.splits import class_counts, target_statistics
from lightning_transfer.tasks import Task, TextTask


def summarise(
    name: str,
    splits: Mapping[str, Divisible],
    class_names: Sequence[str],
    task: Task | TextTask,
    samples: str = "images",
    remarks: Sequence[str] = (),
) -> Table:
    """Sizes of the splits, and the balance or spread of the training targets, as far as there are targets.

    Args:
        name: of the data.
        splits: by name.
        class_names: K, of classes or targets.
        task: what the targets are.
        samples: what the samples are.
        remarks: what is said below the table.
    """
    kind, heading = ("targets", "mean ± deviation") if task == "regression" else ("classes", "a class")
    found = _spread if task == "regression" else _balance
    free = task == "generation"
    table = Table(title=f"{name}: free answers" if free else f"{name}: {len(class_names)} {kind}")
    table.caption = "\n".join(remarks) or None
    for column in ("split", samples) if free else ("split", samples, heading):
        table.add_column(column)
    for split, source in splits.items():
        said = found(source.targets, class_names) if split == "train" and not free else ""
        table.add_row(*(split, str(len(source)), said)[: len(table.columns)])
    return table


def _balance(targets: Tensor, class_names: Sequence[str]) -> str:
    counts = class_counts(targets, len(class_names))
    if len(class_names) <= 20:
        return ", ".join(f"{name} {int(n)}" for name, n in zip(class_names, counts, strict=True))
    return f"{int(counts.min())} to {int(counts.max())}, median {int(counts.median())}"


def _spread(targets: Tensor, names: Sequence[str]) -> str:
    each = zip(names, *(part.tolist() for part in target_statistics(targets)), strict=True)
    return ", ".join(f"{name} {mean:.4g} ± {deviation:.4g}" for name, mean, deviation in each)
