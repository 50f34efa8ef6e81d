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
        # what stands in the places of entries is overwritten, but must not look like an end
        filler = plain.ids[0, self.prefix]
        if isinstance(context, str):
            left, right = (self._tokens(model, piece) for piece in pieces(context, position))
        else:
            before = {"end": context, "middle": context // 2, "front": 0}[position]
            left, right = filler.expand(before), filler.expand(context - before)
        count = len(left) + len(right)
        self._check(tower.context_length, count, spoken, plain.mask)
        rows = [
            self._insert(ids, len(self._tokens(model, word)), left, right)
            for ids, word in zip(plain.ids, spoken, strict=True)
        ]
        mask = torch.cat([plain.mask.new_ones(len(words), count), plain.mask], dim=1)
        # some towers pad to their whole length, of which the entries take up a part
        self.register_buffer("ids", torch.stack([ids for ids, _ in rows])[:, : tower.context_length], persistent=False)
        self.register_buffer("mask", mask[:, : tower.context_length], persistent=False)
        self.register_buffer("places", torch.stack([places for _, places in rows]), persistent=False)
        with torch.no_grad():
            given = torch.cat([left, right])[None].to(model.log_scale.device)
            self.start = tower.embed(given)[0].float().cpu()
        if not isinstance(context, str):
            self.start = torch.randn_like(self.start) * _DEVIATION

    def _tokens(self, model: "ImageTextModel", text: str) -> Tensor:
        """Tokens of a text without those that mark beginning and end: it has them in common with a text that goes on."""
        if not text:
            return torch.empty(0, dtype=torch.int64)
        first, longer = (model.text_tower.tokenize([each]) for each in (text, f"{text} a"))
        count = int(first.mask.sum())
        differs = (first.ids[0, self.prefix : count] != longer.ids[0, self.prefix : count]).nonzero()
        return first.ids[0, self.prefix : self.prefix + int(differs[0]) if len(differs) else count]

    @staticmethod
    def _check(length: int, count: int, words: Sequence[str], mask: Tensor) -> None:
        longest = int(mask.sum(dim=1).max())
        if longest + count > length:
            word = words[int(mask.sum(dim=1).argmax())]
            raise ValueError(
                f"context: {count} entries and the {longest} tokens of {word!r} make {longest + count}, but the text tower reads at "
                f"most {length}; take fewer entries, or shorter words"
            )

    def _insert(self, ids: Tensor, length: int, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """A text's tokens with entries before its name, of so many tokens, and behind it; and where the entries are."""
        begin, end = self.prefix, self.prefix + length
        joined = torch.cat([ids[:begin], left, ids[begin:end], right, ids[end:]])
        places = torch.arange(len(left) + len(right)) + begin
        places[len(left) :] += length
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
    if (isinstance(context, str) and not context.strip()) or (isinstance(context, int) and context < 1):
        raise ValueError(
            f"context={context!r} must be at least 1 entry, 16 for example, or words to begin with: 'a photo of a'"
        )
    if position not in ("end", "middle", "front"):
        raise ValueError(f"position={position!r} of the class names must be end, middle or front")


def pieces(context: str, position: Position) -> tuple[str, str]:
    """Words before a name and behind it, with the spaces between.

    Example:
        >>> pieces("a photo of a", "middle")
        ('a photo ', ' of a')
    """
    words = context.split()
    before = {"end": len(words), "middle": len(words) // 2, "front": 0}[position]
    left, right = " ".join(words[:before]), " ".join(words[before:])
    return f"{left} " if left else "", f" {right}" if right else ""
