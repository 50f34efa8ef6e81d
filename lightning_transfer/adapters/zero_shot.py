"""Classes by their words alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_transfer.adapters.base import ImageTextAdapter
from lightning_transfer.checkpoint import expects_checkpoint
from lightning_transfer.templates import sentences

if TYPE_CHECKING:
    from lightning_transfer.models.image_text import ImageTextModel

_AT_ONCE = 256  # texts


class ZeroShot(ImageTextAdapter):
    """Nothing is learned: a class is where the texts on it point.

    The vector of a class is the mean over its templates of the texts' vectors, of unit length before and after.

    Reference:
        Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, section 3.1.4.
    """

    weights: Tensor

    def build(self, model: "ImageTextModel", words: Sequence[str], templates: Sequence[str]) -> None:
        self.register_buffer("weights", zero_shot_weights(model, words, templates))

    def forward(self, embedding: Tensor, model: "ImageTextModel") -> Tensor:
        return model.logits(embedding, self.weights)


def zero_shot_weights(model: "ImageTextModel", words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Vectors (K, D) of K words, each the mean of T templates', of unit length; zeros where a checkpoint is about to bring them."""
    if expects_checkpoint():
        return torch.zeros(len(words), model.num_features)
    return normalize(template_vectors(model, words, templates).mean(dim=1), dim=-1)


@torch.no_grad()
def template_vectors(model: "ImageTextModel", words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Vectors (K, T, D) of each word in each template, of unit length."""
    texts = sentences(words, templates)
    model.text_tower.eval()
    parts = [model.encode_text(texts[start : start + _AT_ONCE]) for start in range(0, len(texts), _AT_ONCE)]
    return torch.cat(parts).view(len(words), len(templates), -1)


def check_words(words: Sequence[str]) -> None:
    """Refuse words of which two are the same, or one is empty.

    Raises:
        ValueError: naming it.
    """
    spoken = [word.replace("_", " ").strip() for word in words]
    if "" in spoken:
        raise ValueError(f"words: the class of number {spoken.index('')} has an empty name, which no text can speak of")
    if twice := [word for word in spoken if spoken.count(word) > 1]:
        raise ValueError(
            f"words: {twice[0]!r} names two classes, which no text could tell apart; give one of them another word"
        )
