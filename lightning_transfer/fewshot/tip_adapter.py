"""Examples beside the words of their classes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lightning_transfer.adapters.tip_adapter import affinity
from lightning_transfer.adapters.zero_shot import check_words, zero_shot_weights
from lightning_transfer.fewshot.base import EpisodeRule, check_range
from lightning_transfer.models.image_text_checkpoint import as_image_text
from lightning_transfer.templates import read_templates


class TipAdapterRule(EpisodeRule):
    """What the texts on the ways say, and the labels of similar examples: scale · q·w + α exp(−β (1 − q·k)) L.

    Embeddings are those of `ImageTextBackbone` with the same image-text model; texts are on the names of the classes. With α = 0 the texts
    answer alone. Nothing is searched: an episode has no validation images.

    Args:
        image_text: an `ImageTextModel`, or the path of a checkpoint of one (`.ckpt`).
        templates: sentences around the names: the name of a list, a text file, or templates outright; `single` if not given.
        alpha: ≥ 0.
        beta: > 0; the larger, the more only near examples count.

    Raises:
        FileNotFoundError, ValueError: for an image-text model that is none, and values out of range; at a call that was not prepared, or
            was not told which classes the ways are.

    Reference:
        Zhang, Zhang, Fang, Gao, Li, Dai, Qiao, Li, "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV 2022,
        equations 3 to 6.
    """

    needs_names = True
    least_ways = 1
    words: Tensor | None

    def __init__(
        self,
        image_text: nn.Module | str,
        templates: str | list[str] | None = None,
        alpha: float = 1.0,
        beta: float = 5.5,
    ) -> None:
        super().__init__()
        check_range(self, "alpha", alpha, 0, inclusive=True, hint="1 is common, 0 leaves the texts alone")
        check_range(self, "beta", beta, 0, hint="5.5 is common")
        self.templates = read_templates("single" if templates is None else templates)
        known = as_image_text(image_text)
        self.init_args: dict[str, Any] = {
            "image_text": known, "templates": self.templates, "alpha": alpha, "beta": beta
        }  # fmt: skip
        self.model = known
        self.alpha, self.beta = alpha, beta
        self.register_buffer("words", None, persistent=False)

    @torch.no_grad()
    def prepare(self, base: Tensor, class_names: Sequence[str]) -> None:
        check_words(class_names)
        self.words = zero_shot_weights(self.model, class_names, self.templates).to(base.device)

    def see(self, embedding: Tensor) -> Tensor:
        return normalize(embedding, dim=-1)

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        near = affinity(query @ support.mT, self.beta)
        return self._said(query, labels.shape[-1], classes) + self.alpha * near @ labels

    def _said(self, query: Tensor, ways: int, classes: Tensor | None) -> Tensor:
        """What the texts say, (E, Q, K)."""
        if self.words is None:
            raise ValueError("TipAdapterRule was not given the names of the classes; call prepare")
        if classes is None or classes.shape != (len(query), ways):
            given = "(none)" if classes is None else tuple(classes.shape)
            raise ValueError(f"classes {given} must say for each of {ways} ways which class it is: (E, K)")
        if not 0 <= classes.min() <= classes.max() < len(self.words):
            raise ValueError(
                f"classes must number the {len(self.words)} names that TipAdapterRule was prepared with, from 0"
            )
        if self.words.shape[-1] != query.shape[-1]:
            raise ValueError(
                f"the texts' vectors have {self.words.shape[-1]} entries and the embeddings {query.shape[-1]}; take as backbone an "
                "ImageTextBackbone with the same image_text, and projected=true"
            )
        return self.model.logits(query, self.words.to(query)[classes])
