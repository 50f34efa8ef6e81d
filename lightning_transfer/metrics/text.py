"""What is measured where a language model says its answers."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection


class _Share(Metric):
    """A share of answers."""

    hits: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("hits", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")

    def count(self, hits: Sequence[bool]) -> None:
        """Add one an answer."""
        self.hits += sum(hits)
        self.total += len(hits)

    def compute(self) -> Tensor:
        return self.hits / self.total


class ExactMatch(_Share):
    """The share of answers that are the right ones: as numbers where both are, else without regard to capitals and space.

    Example:
        >>> metric = ExactMatch()
        >>> metric.update(["3.0", "Cats ", None], ["3", "cats", "7"])
        >>> metric.compute()
        tensor(0.6667)
    """

    def update(self, said: Sequence[str | None], answer: Sequence[str]) -> None:
        self.count([same(one, other) for one, other in zip(said, answer, strict=True)])


class Unparsed(_Share):
    """The share of texts without an answer in them."""

    def update(self, samples: Sequence[Sequence[str | None]]) -> None:
        self.count([answer is None for each in samples for answer in each])


class ExactMatchAlone(_Share):
    """The share of single samples that are right, of which the vote is made."""

    def update(self, samples: Sequence[Sequence[str | None]], answer: Sequence[str]) -> None:
        self.count([same(one, right) for each, right in zip(samples, answer, strict=True) for one in each])


def same(said: str | None, answer: str) -> bool:
    """Whether an answer is the right one; none is not."""
    if said is None:
        return False
    try:
        return Decimal(said.strip()).compare(Decimal(answer.strip())) == 0 or _bare(said) == _bare(answer)
    except InvalidOperation:
        return _bare(said) == _bare(answer)


def _bare(text: str) -> str:
    return " ".join(text.lower().split())


def saying_metrics(several: bool) -> MetricCollection:
    """`exact_match`, the share `unparsed`, and with several samples that of single ones, `exact_match_alone`."""
    found: dict[str, Any] = {"exact_match": ExactMatch(), "unparsed": Unparsed()}
    if several:
        found["exact_match_alone"] = ExactMatchAlone()
    return MetricCollection(found, compute_groups=False)
