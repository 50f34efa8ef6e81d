"""Words that no one has written: entries of the text tower, learned for all classes or for each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from lightning_transfer.adapters.base import ImageTextAdapter
from lightning_transfer.adapters.context import Context, Position, check_context

if TYPE_CHECKING:
    from lightning_transfer.models.image_text import ImageTextModel


class CoOp(ImageTextAdapter):
    """Learn the entries that stand beside the class's name, by gradients through the frozen text tower.

    Args:
        context: M, number of entries, drawn by a normal distribution of deviation 0.02; or words to begin with, `a photo of a` for example.
        position: where in the sentence the names stand: at its end, in the middle of the entries, or in front of them.
        class_specific: whether each class has entries of its own.
        ending: what closes the sentence behind the names and entries.

    Shape:
        vectors (B, D) of unit length → logits (B, K)

    Raises:
        ValueError: for values out of range; at `build` for a text that is too long.

    Reference:
        Zhou, Yang, Loy, Liu, "Learning to Prompt for Vision-Language Models", IJCV 2022, section 3.2 (CoOp).
    """

    reads_templates: ClassVar[bool] = False

    def __init__(
        self, context: int | str = 16, position: Position = "end", class_specific: bool = False, ending: str = "."
    ) -> None:
        super().__init__()
        check_context(context, position)
        self.context, self.position, self.ending = context, position, ending
        self.class_specific = class_specific
        self._read: tuple[object, Tensor] | None = None  # the classes' vectors, and what they depend on

    def build(self, model: "ImageTextModel", words: Sequence[str], templates: Sequence[str]) -> None:
        self.texts = Context(model, words, self.context, self.position, self.ending)
        start = self.texts.start
        self.entries = nn.Parameter(start.repeat(len(words), 1, 1) if self.class_specific else start)

    def forward(self, embedding: Tensor, model: "ImageTextModel") -> Tensor:
        return model.logits(embedding, self._vectors(model))

    def _vectors(self, model: "ImageTextModel") -> Tensor:
        """Vectors (K, D) of the classes; without gradients they are computed once for all batches."""
        if torch.is_grad_enabled():
            vectors: Tensor = self.texts(self.entries, model)
            return vectors
        place = self.entries.device
        now = self.entries._version, place, torch.is_autocast_enabled(place.type)
        if self._read is None or self._read[0] != now:
            self._read = now, self.texts(self.entries, model)
        return self._read[1]
