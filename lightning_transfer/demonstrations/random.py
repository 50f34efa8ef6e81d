"""Demonstrations drawn at random."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Literal, get_args

import torch

from lightning_transfer.contracts import TextRows
from lightning_transfer.demonstrations.base import Demonstrations, check_count

Order = Literal["random", "grouped", "alternating"]


class RandomDemonstrations(Demonstrations):
    """The same rows for every query, drawn once; a row that is the query gives way to the next one drawn.

    Models lean towards the last and the most frequent answers of a prompt, so order and balance matter.

    Args:
        count: k ≥ 1, demonstrations of a prompt.
        seed: of the draw and of a random order; the rows of k are among those of k + 1 of the same seed, as far as balance lets them.
        balanced: whether all classes have equally many, one more or less, where there are classes.
        order: `random`, `grouped` by class, or `alternating` between classes.

    Raises:
        ValueError: for values out of range, or a pool that is too small.

    Reference:
        Zhao, Wallace, Feng, Klein, Singh, "Calibrate Before Use", ICML 2021, section 4; Lu, Bartolo, Moore, Riedel, Stenetorp,
        "Fantastically Ordered Prompts and Where to Find Them", ACL 2022.
    """

    def __init__(self, count: int = 4, seed: int = 0, balanced: bool = True, order: Order = "random") -> None:
        if count < 1:
            raise ValueError(f"count={count} must be at least 1; demonstrations=null shows none")
        if order not in get_args(Order):
            raise ValueError(f"order={order!r} must be one of {', '.join(get_args(Order))}")
        self.count, self.seed, self.balanced, self.order = count, seed, balanced, order
        self._ranked: list[int] = []
        self._classes: list[int] = []

    def prepare(self, pool: TextRows, num_classes: int, inputs: Sequence[str]) -> None:
        super().prepare(pool, num_classes, inputs)
        check_count(self.count, len(pool.fields))
        drawn = torch.randperm(len(pool.fields), generator=torch.Generator().manual_seed(self.seed)).tolist()
        self._classes = pool.target.tolist()
        if self.balanced and num_classes:
            drawn = _in_turn(drawn, self._classes)
        self._ranked = drawn

    def choose(self, fields: Mapping[str, str]) -> list[int]:
        shown = self.itself(fields)
        chosen = [i for i in self._ranked[: self.count + len(shown)] if i not in shown][: self.count]
        if self.order == "random":
            order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(self.seed + 1)).tolist()
            return [chosen[i] for i in order]
        if self.order == "alternating":
            return _in_turn(chosen, self._classes)
        return sorted(chosen, key=lambda i: self._classes[i])


def _in_turn(rows: Sequence[int], classes: Sequence[int]) -> list[int]:
    """Rows of one class after another in turn, as long as each has some; those of a class keep their order."""
    groups: dict[int, list[int]] = {}
    for i in rows:
        groups.setdefault(classes[i], []).append(i)
    turns = zip_longest(*(groups[k] for k in sorted(groups)))
    return [i for turn in turns for i in turn if i is not None]
