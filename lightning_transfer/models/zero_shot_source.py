"""An image-text model as a source, whose classes are texts."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_transfer.adapters.zero_shot import check_words, template_vectors
from lightning_transfer.checkpoint import expects_checkpoint
from lightning_transfer.contracts import Features, Prediction
from lightning_transfer.models.image_text_checkpoint import as_image_text
from lightning_transfer.models.source import Source
from lightning_transfer.templates import read_templates, sentences


class ZeroShotSource(Source):
    """Each word in each of T templates is a class of its own, those of a word side by side; `TextMapping` chooses among them.

    Args:
        image_text: an `ImageTextModel`, or the path of a checkpoint of one (`.ckpt`).
        templates: the name of a list in `templates`, a text file, one template, or several, with `{}` for the word.
        words: K; the names of the target classes if not given.

    Shape:
        image (B, 3, H, W) in [0, 1] → logits (B, K·T), and the image's vector (B, D) of unit length

    Raises:
        FileNotFoundError, ValueError: for an image-text model that is none, templates or words that do not do.
    """

    weights: Tensor

    def __init__(
        self, image_text: nn.Module | str, templates: list[str] | str = "imagenet", words: list[str] | None = None
    ) -> None:
        super().__init__()
        self.image_text = as_image_text(image_text)
        self.templates = read_templates(templates)
        self.num_classes = 0
        self.init_args = {"image_text": self.image_text, "templates": templates, "words": words}
        self.given = words is not None
        if words is not None:
            self._read(words)

    def _read(self, words: list[str]) -> None:
        check_words(words)
        vectors = torch.zeros(len(words), len(self.templates), self.image_text.num_features)
        if not expects_checkpoint():
            vectors = template_vectors(self.image_text, words, self.templates)
        self.register_buffer("weights", vectors.flatten(0, 1))
        self.class_names = sentences(words, self.templates)
        self.num_classes = len(self.class_names)

    def name_targets(self, class_names: list[str] | None) -> None:
        if self.given:
            return
        if not class_names:
            raise ValueError("source: ZeroShotSource speaks of the target classes, but they have no names; give words")
        self._read(class_names)

    def forward(self, image: Tensor) -> Prediction:
        embedding = self.image_text.encode_image(image)
        return Prediction(self.image_text.logits(embedding, self.weights), Features(embedding))

    def statistics(self) -> tuple[Tensor, Tensor] | None:
        backbone: Any = self.image_text.backbone
        found = getattr(backbone, "mean", None), getattr(backbone, "std", None)
        return found if isinstance(found[0], Tensor) and isinstance(found[1], Tensor) else None  # type: ignore[return-value]

    def set_image_size(self, image_size: int) -> None:
        self.image_text.backbone.set_image_size(image_size)
