"""What every choice score offers."""

from abc import ABC, abstractmethod

from torch import Tensor

from lightning_transfer.language.score import Scores
from lightning_transfer.parts import Part


class ChoiceScore(Part, ABC):
    """Makes logits of the log-probabilities of choices.

    Attributes:
        premise: a text that says nothing of the query, behind which the choices are scored, too; none if that is of no use.
    """

    premise: str | None = None

    @abstractmethod
    def __call__(self, scores: Scores, unconditional: Tensor | None = None) -> Tensor:
        """Compare choices.

        Args:
            scores: of the choices behind their contexts, (B, K) each.
            unconditional: (B, K) log-probabilities of the same choices behind the premise.

        Returns:
            logits (B, K)
        """
