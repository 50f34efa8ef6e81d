"""Demonstrations like the query."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from lightning_transfer.contracts import TextRows
from lightning_transfer.demonstrations.base import Demonstrations, check_count
from lightning_transfer.text_encoders import MiniLM, TextEncoder


class SimilarDemonstrations(Demonstrations):
    """For each query the rows whose texts are most like it, by the cosine of a sentence encoder; the most similar one stands last.

    Each query then has a prompt of its own, so that nothing in front of it is read once for all.

    Args:
        count: k ≥ 1, demonstrations of a prompt.
        encoder: of the texts; MiniLM if not given.

    Raises:
        ValueError: for values out of range, or a pool that is too small.

    Reference:
        Liu, Shen, Zhang, Dolan, Carin, Chen, "What Makes Good In-Context Examples for GPT-3?", DeeLIO 2022.
    """

    shared: ClassVar[bool] = False

    def __init__(self, count: int = 4, encoder: TextEncoder | None = None) -> None:
        if count < 1:
            raise ValueError(f"count={count} must be at least 1; demonstrations=null shows none")
        self.count = count
        self.encoder = encoder
        self._vectors: Tensor | None = None
        self._encoder: TextEncoder | None = encoder
        self._known: dict[str, Tensor] = {}

    def prepare(self, pool: TextRows, num_classes: int, inputs: Sequence[str]) -> None:
        super().prepare(pool, num_classes, inputs)
        check_count(self.count, len(pool.fields))
        self._encoder = self.encoder or MiniLM()
        self._known.clear()
        self._vectors = self._encoder([self._text(row) for row in pool.fields])

    def choose(self, fields: Mapping[str, str]) -> list[int]:
        if self._vectors is None or self._encoder is None:
            raise ValueError("demonstrations have not seen the data yet: call prepare, as the trainer does")
        text = self._text(fields)
        if text not in self._known:
            self._known[text] = self._encoder([text])[0]
        alike = self._vectors @ self._known[text]
        shown = self.itself(fields)
        alike[list(shown)] = -torch.inf
        others = len(alike) - len(shown)  # fewer than `count` where several rows say what the query does
        nearest: list[int] = alike.topk(min(self.count, others)).indices.tolist()
        return nearest[::-1]

    def _text(self, row: Mapping[str, str]) -> str:
        return " ".join(row[name] for name in self._inputs)
