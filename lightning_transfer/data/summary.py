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
    further: Mapping[str, Mapping[str, int]] = {},  # never written to
) -> Table:
    """Sizes of the splits, and the balance or spread of the training targets, as far as there are targets.

    Args:
        name: of the data.
        splits: by name.
        class_names: K, of classes or targets.
        task: what the targets are.
        samples: what the samples are.
        further: counts by split, by what is counted; what is nowhere found is not shown.
    """
    kind, heading = ("targets", "mean ± deviation") if task == "regression" else ("classes", "a class")
    found = _spread if task == "regression" else _balance
    title = "free answers" if task == "generation" else f"{len(class_names)} {kind}"
    counted = {what: counts for what, counts in further.items() if any(counts.values())}
    table = Table(title=f"{name}: {title}")
    headings = ["split", samples, *counted] if task == "generation" else ["split", samples, *counted, heading]
    for column in headings:
        table.add_column(column)
    for split, source in splits.items():
        counts = [str(numbers.get(split) or "") for numbers in counted.values()]
        spread = found(source.targets, class_names) if split == "train" and task != "generation" else ""
        table.add_row(*[split, str(len(source)), *counts, spread][: len(headings)])
    return table


def _balance(targets: Tensor, class_names: Sequence[str]) -> str:
    counts = class_counts(targets, len(class_names))
    if len(class_names) <= 20:
        return ", ".join(f"{name} {int(n)}" for name, n in zip(class_names, counts, strict=True))
    return f"{int(counts.min())} to {int(counts.max())}, median {int(counts.median())}"


def _spread(targets: Tensor, names: Sequence[str]) -> str:
    each = zip(names, *(part.tolist() for part in target_statistics(targets)), strict=True)
    return ", ".join(f"{name} {mean:.4g} ± {deviation:.4g}" for name, mean, deviation in each)
