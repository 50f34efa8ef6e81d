"""Learned entries beside the words of a text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from lightning_transfer.text_towers.base import TextTokens

if TYPE_CHECKING:
    from lightning_transfer.models.image_text import ImageTextModel

Position = Literal["end", "middle", "front"]
_DEVIATION = 0.02  # CoOp's


class Context(nn.Module):
    """Texts of K class names with places for M entries, which whoever learns them fills in.

    Args:
        model: whose text tower reads them.
        words: K.
        context: M, number of entries; or words, as many entries as they have tokens, which are where these begin.
        position: where in the sentence the names stand: at its end, in the middle of the entries, or in front of them.
        ending: what closes the sentence.

    Attributes:
        start: what the entries are at the start, (M, W).

    Shape:
        entries (M, W), or (K, M, W), → texts (K, D) of unit length

    Raises:
        ValueError: for values out of range, or a text that is too long.
    """

    ids: Tensor
    mask: Tensor
    places: Tensor

    def __init__(
        self, model: "ImageTextModel", words: Sequence[str], context: int | str, position: Position, ending: str
    ) -> None:
        super().__init__()
        tower = model.text_tower
        self.prefix = tower.prefix
        spoken = [word.replace("_", " ") for word in words]
        plain = tower.tokenize([word + ending for word in spoken])
        # what stands in the entries' places is overwritten, but must not look like an end
        given = self._tokens(model, context) if isinstance(context, str) else plain.ids[:1, self.prefix].expand(context)
        if plain.ids.shape[1] + len(given) > tower.context_length:
            longest = max(spoken, key=len)
            raise ValueError(
                f"context: {len(given)} entries and the tokens of {longest!r} make {plain.ids.shape[1] + len(given)}, but the text "
                f"tower reads at most {tower.context_length}; take fewer entries, or shorter words"
            )
        before = {"end": len(given), "middle": len(given) // 2, "front": 0}[position]
        lengths = [self._length(model, word) for word in spoken]
        rows = [self._insert(ids, length, given, before) for ids, length in zip(plain.ids, lengths, strict=True)]
        self.register_buffer("ids", torch.stack([ids for ids, _ in rows]), persistent=False)
        self.register_buffer("places", torch.stack([places for _, places in rows]), persistent=False)
        room = plain.mask.new_ones(len(words), len(given))
        self.register_buffer("mask", torch.cat([room, plain.mask], dim=1), persistent=False)
        with torch.no_grad():
            self.start = tower.embed(given[None].to(model.log_scale.device))[0].float().cpu()
        if not isinstance(context, str):
            self.start = torch.randn_like(self.start) * _DEVIATION

    def _tokens(self, model: "ImageTextModel", text: str) -> Tensor:
        return model.text_tower.tokenize([text]).ids[0, self.prefix :][: self._length(model, text)]

    def _length(self, model: "ImageTextModel", text: str) -> int:
        """Tokens of a text without those that mark beginning and end: it has them in common with a text that goes on."""
        first, longer = (model.text_tower.tokenize([t]) for t in (text, f"{text} {text.split()[0]}"))
        count = min(int(first.mask.sum()), int(longer.mask.sum()))
        differs = first.ids[0, self.prefix : count] != longer.ids[0, self.prefix : count]
        return int(differs.nonzero()[0]) if differs.any() else count - self.prefix

    def _insert(self, ids: Tensor, length: int, given: Tensor, before: int) -> tuple[Tensor, Tensor]:
        """A text's tokens with those of the entries, some before the name and some behind it, and where the entries are."""
        begin, end = self.prefix, self.prefix + length
        joined = torch.cat([ids[:begin], given[:before], ids[begin:end], given[before:], ids[end:]])
        places = torch.arange(len(given)) + begin
        places[before:] += length
        return joined, places

    def forward(self, entries: Tensor, model: "ImageTextModel") -> Tensor:
        words = model.text_tower.embed(self.ids)
        entries = entries.to(words).expand(len(self.ids), -1, -1)
        places = self.places.unsqueeze(-1).expand_as(entries)
        return model.encode_tokens(TextTokens(self.ids, self.mask), words.scatter(1, places, entries))


def check_context(context: int | str, position: str) -> None:
    """Refuse a context without entries, or another place for the names.

    Raises:
        ValueError: saying what would do.
    """
    if context == "" or (isinstance(context, int) and context < 1):
        raise ValueError(
            f"context={context!r} must be at least 1 entry, 16 for example, or words to begin with: 'a photo of a'"
        )
    if position not in ("end", "middle", "front"):
        raise ValueError(f"position={position!r} of the class names must be end, middle or front")
