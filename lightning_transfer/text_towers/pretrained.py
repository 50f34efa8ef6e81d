"""What text towers of transformers share: a network, its tokenizer, and how its outputs become one vector."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_transfer.text_towers.base import TextTokens, TextTower, with_entries

Pooling = Literal["mean", "first", "last"]
_POOLINGS = ("mean", "first", "last")


class PretrainedTower(TextTower):
    """An encoder of transformers, whose tokenizer goes into the checkpoint along with the weights, so that neither needs anything else.

    Attributes:
        model: the network.
        tokenizer: of the library tokenizers; none until a checkpoint's is loaded.
        pooling: `mean` over the tokens, `first` token (BERT's [CLS]) or `last` (the end's mark).
    """

    model: Any
    tokenizer: Any
    pooling: Pooling

    def take(self, model: Any, tokenizer: Any, pooling: Pooling, context_length: int) -> None:
        """Set what the tower consists of; children call it once."""
        if pooling not in _POOLINGS:
            raise ValueError(f"pooling={pooling!r} must be one of {', '.join(_POOLINGS)}")
        self.model, self.tokenizer, self.pooling = model, tokenizer, pooling
        self.num_features, self.context_length = int(model.config.hidden_size), context_length
        self._count_prefix()

    def _count_prefix(self) -> None:
        if self.tokenizer is not None:
            self.tokenizer.no_truncation()
            marks = self.tokenizer.encode("a").special_tokens_mask
            self.prefix = marks.index(0) if 0 in marks else 0

    def get_extra_state(self) -> str:
        return str(self.tokenizer.to_str())

    def set_extra_state(self, state: str) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_str(state)
        self._count_prefix()

    def tokenize(self, texts: Sequence[str]) -> TextTokens:
        encoded = self.tokenizer.encode_batch([*texts])
        masks = torch.tensor([row.attention_mask for row in encoded], dtype=torch.bool)
        self.check(texts, masks.sum(dim=1).tolist())
        return TextTokens(torch.tensor([row.ids for row in encoded]), masks)

    def embed(self, ids: Tensor) -> Tensor:
        entries: Tensor = self.model.get_input_embeddings()(ids)
        return entries

    def encode(self, entries: Tensor, tokens: TextTokens) -> Tensor:
        with with_entries(self.model.get_input_embeddings(), entries):
            outputs = self.model(input_ids=tokens.ids, attention_mask=tokens.mask.long()).last_hidden_state
        if self.pooling == "last":
            last: Tensor = self.last(outputs, tokens)
            return last
        if self.pooling == "first":
            first: Tensor = outputs[:, 0]
            return first
        weight = tokens.mask.unsqueeze(2) / tokens.mask.sum(dim=1)[:, None, None]
        pooled: Tensor = (weight * outputs).sum(dim=1)
        return pooled
