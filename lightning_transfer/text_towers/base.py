"""What every text tower offers: texts to tokens, tokens to entries, entries to one vector a text."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from lightning_transfer.parts import Part


class TextTokens(NamedTuple):
    """Tokens of N texts, padded behind.

    Shape:
        ids (N, L) int64; mask (N, L) bool, true where a token stands.
    """

    ids: Tensor
    mask: Tensor


class TextTower(Part, nn.Module, ABC):
    """Reads texts. What stands between tokens and vectors, `embed`, is open, so that learned entries can take the place of words (CoOp).

    Attributes:
        num_features: D, width of the vectors.
        context_length: most tokens a text may have, with those that mark its beginning and end.
        prefix: tokens that stand in front of each text's own, 1 for a mark of the beginning.

    Shape:
        N texts → (N, D), of any length
    """

    num_features: int
    context_length: int
    prefix: int = 1

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> TextTokens:
        """Tokens of texts, L that of the longest, on the CPU.

        Raises:
            ValueError: for a text that is empty, or has more tokens than `context_length`.
        """

    @abstractmethod
    def embed(self, ids: Tensor) -> Tensor:
        """Entries of tokens, (N, L) → (N, L, W), before positions."""

    @abstractmethod
    def encode(self, entries: Tensor, tokens: TextTokens) -> Tensor:
        """Vectors of entries, (N, L, W) → (N, D); the tokens tell where texts end."""

    def forward(self, tokens: TextTokens) -> Tensor:
        return self.encode(self.embed(tokens.ids), tokens)
