"""Rows of text by their numbers: chosen, told apart by what they say, and put into batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_transfer.contracts import TextBatch, TextRows


def take(rows: TextRows, numbers: Sequence[int]) -> TextRows:
    """Some rows, in the order of their numbers.

    Example:
        >>> rows = TextRows([{"text": "a"}, {"text": "b"}], torch.tensor([0, 1]), name=["f/1", "f/2"])
        >>> take(rows, [1]).name
        ['f/2']
    """
    target = rows.target[torch.tensor(numbers, dtype=torch.long)]
    answer, name = ([column[i] for i in numbers] if column else [] for column in (rows.answer, rows.name))
    return TextRows([rows.fields[i] for i in numbers], target, answer, name)


def same_text(fields: Mapping[str, str], inputs: Sequence[str]) -> str:
    """What two rows have in common that say the same, whatever their capitals and spaces.

    Example:
        >>> same_text({"text": "No  joke. "}, ["text"]) == same_text({"text": "no joke."}, ["text"])
        True
    """
    return "\n".join(" ".join(fields[name].lower().split()) for name in inputs)


class RowSource:
    """Rows of text that splits are made of; those that say the same are one group.

    Args:
        rows: N.
        groups: N; what each row says.
    """

    def __init__(self, rows: TextRows, groups: Sequence[str]) -> None:
        self.rows = rows
        self.targets = rows.target
        self.groups: Sequence[str] | None = groups

    def __len__(self) -> int:
        return len(self.rows.fields)

    def subset(self, indices: Tensor) -> "RowSource":
        """Those numbered so, (n,), in this order."""
        numbers = indices.tolist()
        return RowSource(take(self.rows, numbers), [self.groups[i] for i in numbers] if self.groups else [])


Item = tuple[Mapping[str, str], Tensor, str | None, str, int]


class TextSet(Dataset[Item]):
    """Rows of text as items of a loader; a number beyond the last counts on from the first, as `ShuffledBatches` gives them.

    Args:
        rows: N.
    """

    def __init__(self, rows: TextRows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows.fields)

    def __getitem__(self, number: int) -> Item:
        rows, i = self.rows, number % len(self)
        return rows.fields[i], rows.target[i], rows.answer[i] if rows.answer else None, rows.name[i], i


def collate_text(items: Sequence[Any]) -> TextBatch:
    """Put items together to a batch."""
    fields, targets, answers, names, numbers = zip(*items, strict=True)
    answer = () if None in answers else list(answers)
    return TextBatch(list(fields), torch.stack(targets), answer, list(names), torch.tensor(numbers))
