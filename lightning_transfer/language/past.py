"""What a causal language model has read: keys and values, behind which it reads on."""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Past(NamedTuple):
    """Keys and values of T columns in all layers.

    A soft prompt is one, and so is the beginning that prompts share: what is read once serves every text behind it.

    Shape:
        layers: a pair a layer, each (B, heads, T, width), B = 1 where it is shared; bias (P,) is added to the scores of the first P
        columns before the softmax: a log weight; mask (B, T), false where a column is padding; skipped: how many columns take no position.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    bias: Tensor | None = None
    mask: Tensor | None = None
    skipped: int = 0

    @property
    def length(self) -> int:
        """T, columns."""
        return self.layers[0][0].shape[2]

    @property
    def batch(self) -> int:
        """B."""
        return self.layers[0][0].shape[0]

    def taken(self) -> Tensor:
        """Positions that it takes of each text, (B,) int64."""
        device = self.layers[0][0].device
        read = torch.full((self.batch,), self.length, device=device) if self.mask is None else self.mask.sum(dim=1)
        return read - self.skipped

    def expand(self, batch: int) -> "Past":
        """The same for each of B texts; nothing is copied."""
        if self.batch == batch:
            return self
        layers = tuple((k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1)) for k, v in self.layers)
        return self._replace(layers=layers, mask=None if self.mask is None else self.mask.expand(batch, -1))

    def repeat(self, times: int) -> "Past":
        """Each text's several times over, side by side."""
        layers = tuple((k.repeat_interleave(times, 0), v.repeat_interleave(times, 0)) for k, v in self.layers)
        return self._replace(layers=layers, mask=None if self.mask is None else self.mask.repeat_interleave(times, 0))

    def select(self, rows: Tensor) -> "Past":
        """Those of some texts, by their numbers (b,)."""
        layers = tuple((k[rows], v[rows]) for k, v in self.layers)
        return self._replace(layers=layers, mask=None if self.mask is None else self.mask[rows])


def as_cache(past: Past | None) -> Any:
    """What transformers reads on behind; it makes new tensors and leaves these as they are."""
    from transformers import DynamicCache

    cache: Any = DynamicCache()
    for layer, (keys, values) in enumerate(past.layers if past is not None else ()):
        cache.update(keys[:, :, :0], values[:, :, :0], layer)  # makes the layer; its contents are put in without a copy
        cache.layers[layer].keys, cache.layers[layer].values = keys, values
    return cache


def from_cache(cache: Any) -> tuple[tuple[Tensor, Tensor], ...]:
    """Keys and values of all layers of a cache."""
    return tuple((layer.keys, layer.values) for layer in cache.layers)


def attention_mask(
    past: Past, batch: int, width: int, dtype: torch.dtype, texts: Tensor | None = None
) -> Tensor | None:
    """What is added to attention scores of `width` new columns behind a past: (B, 1, width, T + width); none where causality says all.

    Several texts may lie side by side in one row: `texts` (width,) numbers them, and none sees another.
    """
    if past.mask is None and past.bias is None and texts is None:
        return None
    device = past.layers[0][0].device
    closed = torch.finfo(dtype).min
    new = torch.full((width, width), closed, dtype=dtype, device=device).triu(1)
    if texts is not None:
        new = new.masked_fill(texts[:, None] != texts, closed)
    new = new.expand(batch, width, width)
    old = torch.zeros(batch, width, past.length, dtype=dtype, device=device)
    if past.mask is not None:
        old = old.masked_fill(~past.mask[:, None], closed)
    if past.bias is not None:
        count = len(past.bias)
        old = torch.cat([old[..., :count] + past.bias.to(dtype).clamp(min=closed), old[..., count:]], dim=2)
    return torch.cat([old, new], dim=2)[:, None]
