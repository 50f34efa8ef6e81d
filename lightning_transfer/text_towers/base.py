"""What every text tower offers: texts to tokens, tokens to entries, entries to one vector a text."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
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

    def check(self, texts: Sequence[str], lengths: Sequence[int]) -> None:
        """Refuse texts that a tower cannot read.

        Args:
            texts: N.
            lengths: tokens of each, with the marks.

        Raises:
            ValueError: for an empty text, or one of more tokens than `context_length`, with its beginning.
        """
        for text, length in zip(texts, lengths, strict=True):
            if not text.strip():
                raise ValueError("a caption is empty; give every image one, or leave the image out")
            if length > self.context_length:
                raise ValueError(
                    f"the caption {text[:40]!r}... has {length} tokens with its marks, but {type(self).__name__} reads at most "
                    f"context_length={self.context_length}; shorten it, or take a tower that reads more"
                )

    @staticmethod
    def last(outputs: Tensor, tokens: TextTokens) -> Tensor:
        """The output at each text's last token, (N, L, W) → (N, W)."""
        return outputs[torch.arange(len(outputs), device=outputs.device), tokens.mask.sum(dim=1) - 1]


@contextmanager
def with_entries(embedding: nn.Module, entries: Tensor) -> Iterator[None]:
    """Let a network of somebody else's go on with given entries, whatever its embedding makes of the tokens.

    Args:
        embedding: the module that turns tokens into entries.
        entries: (N, L, W).
    """
    handle = embedding.register_forward_hook(lambda *_: entries)
    try:
        yield
    finally:
        handle.remove()
