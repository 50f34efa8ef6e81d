"""What an edit puts in front of every text: learned, no text."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor, nn

from lightning_transfer.language.past import Past

if TYPE_CHECKING:
    from lightning_transfer.language.model import LanguageModel


class Prompt(nn.Module, ABC):
    """A soft prompt of P columns.

    Attributes:
        length: P.
    """

    length: int

    @abstractmethod
    def past(self, model: "LanguageModel") -> Past:
        """What a causal model reads texts behind, of batch 1, with gradient."""

    def embeddings(self) -> Tensor:
        """Entries (P, D) in front of those of a masked model's texts.

        Raises:
            ValueError: where it has none.
        """
        raise ValueError(
            f"edits: {type(self).__name__} has keys and values, which a masked language model does not read; take SoftPrompt"
        )
