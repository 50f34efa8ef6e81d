"""Demonstrations by their numbers."""

from collections.abc import Mapping, Sequence

from lightning_transfer.contracts import TextRows
from lightning_transfer.demonstrations.base import Demonstrations


class FixedDemonstrations(Demonstrations):
    """The rows given, in this order; a query that is one of them does without it.

    Args:
        rows: numbers in the training split, from 0.

    Raises:
        ValueError: for no rows, one that is given twice, or one that is not there.
    """

    def __init__(self, rows: list[int]) -> None:
        if not rows:
            raise ValueError("rows=[] shows nothing; demonstrations=null does that")
        if twice := [i for i in rows if rows.count(i) > 1]:
            raise ValueError(f"rows: {twice[0]} is given twice")
        self.rows = list(rows)

    def prepare(self, pool: TextRows, num_classes: int, inputs: Sequence[str]) -> None:
        super().prepare(pool, num_classes, inputs)
        if missing := [i for i in self.rows if not 0 <= i < len(pool.fields)]:
            raise ValueError(
                f"rows: {missing[0]} is none of the {len(pool.fields)} training rows, which are numbered from 0"
            )

    def choose(self, fields: Mapping[str, str]) -> list[int]:
        shown = self.itself(fields)
        return [i for i in self.rows if i not in shown]
