"""What all demonstrations offer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from lightning_transfer.contracts import TextRows
from lightning_transfer.parts import Part


class Demonstrations(Part, ABC):
    """Chooses rows of a pool for a query; the answer of a query never depends on its label, and a query is never shown its own row.

    Attributes:
        shared: whether queries that are not in the pool are all shown the same, which is then read once.
    """

    shared: ClassVar[bool] = True

    def prepare(self, pool: TextRows, num_classes: int, inputs: Sequence[str]) -> None:
        """Look at the rows to choose from.

        Args:
            pool: N rows.
            num_classes: K, 0 where answers are free.
            inputs: fields that a query shows.

        Raises:
            ValueError: for a pool that does not do.
        """
        self._places: dict[tuple[str, ...], set[int]] = {}
        self._inputs = list(inputs)
        for i, row in enumerate(pool.fields):
            self._places.setdefault(self._key(row), set()).add(i)

    def itself(self, fields: Mapping[str, str]) -> set[int]:
        """Rows of the pool that show what a query shows."""
        return self._places.get(self._key(fields), set())

    @abstractmethod
    def choose(self, fields: Mapping[str, str]) -> list[int]:
        """Numbers of rows of the pool in the order of the prompt.

        Args:
            fields: the query.
        """

    def _key(self, row: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(" ".join(row[name].lower().split()) for name in self._inputs)


def check_count(count: int, size: int) -> None:
    """Refuse a number of demonstrations that a pool of `size` rows does not have."""
    if count >= size:
        raise ValueError(
            f"count={count} demonstrations are to be drawn from {size} training rows, of which one may be the query; at most {size - 1} do"
        )
