"""Learned words that depend on the image."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from lightning_transfer.adapters.base import ImageTextAdapter
from lightning_transfer.adapters.context import Context, Position, check_context

if TYPE_CHECKING:
    from lightning_transfer.models.image_text import ImageTextModel

_NARROWER = 16  # the hidden layer than the image's vector


class CoCoOp(ImageTextAdapter):
    """`CoOp` whose entries a small network moves by the image's vector; so each image has texts of its own.

    One image costs the text tower a pass over all classes.

    Args:
        context: M, number of entries, drawn by a normal distribution of deviation 0.02; or words to begin with.
        position: where in the sentence the names stand: at its end, in the middle of the entries, or in front of them.
        ending: what closes the sentence behind the names and entries.

    Shape:
        vectors (B, D) of unit length → logits (B, K); the network is D → D / 16 → W, ReLU between

    Raises:
        ValueError: for values out of range; at `build` for a text that is too long.

    Reference:
        Zhou, Yang, Loy, Liu, "Conditional Prompt Learning for Vision-Language Models", CVPR 2022, section 3.2.
    """

    reads_templates: ClassVar[bool] = False

    def __init__(self, context: int | str = "a photo of a", position: Position = "end", ending: str = ".") -> None:
        super().__init__()
        check_context(context, position)
        self.context, self.position, self.ending = context, position, ending

    def build(self, model: "ImageTextModel", words: Sequence[str], templates: Sequence[str]) -> None:
        self.texts = Context(model, words, self.context, self.position, self.ending)
        self.entries = nn.Parameter(self.texts.start)
        hidden = max(1, model.num_features // _NARROWER)
        self.meta = nn.Sequential(
            nn.Linear(model.num_features, hidden), nn.ReLU(), nn.Linear(hidden, self.entries.shape[1])
        )

    def forward(self, embedding: Tensor, model: "ImageTextModel") -> Tensor:
        moved = self.entries + self.meta(embedding).unsqueeze(1)  # (B, M, W)
        rows = [
            model.logits(image[None], self.texts(entries, model))
            for image, entries in zip(embedding, moved, strict=True)
        ]
        return torch.cat(rows)
