"""Each class by one of the texts on it, for a `ZeroShotSource`, whose classes are K words in T templates."""

import torch
from torch import Tensor

from lightning_transfer.mappings.base import LabelMapping
from lightning_transfer.mappings.counts import Counts


class FixedTextMapping(LabelMapping):
    """A class's score is that of its word in one template, the same for all classes.

    Args:
        template: its number, from 0.

    Shape:
        logits (B, K·T), those of a class side by side, → (B, K); chosen (K,) int64

    Raises:
        ValueError: for a number out of range; at `build`, for a source whose classes are no texts on the targets.
    """

    chosen: Tensor

    def __init__(self, template: int = 0) -> None:
        super().__init__()
        if template < 0:
            raise ValueError(f"template={template} of {type(self).__name__} must be at least 0, the first template")
        self.template = template

    def build(
        self, num_source: int, num_classes: int, source_names: list[str] | None, class_names: list[str] | None
    ) -> None:
        name = type(self).__name__
        self.texts, rest = divmod(num_source, num_classes)
        if rest or self.texts < 1:
            raise ValueError(
                f"{name} wants as many texts for each of num_classes={num_classes}, but the source has {num_source} classes; it is for "
                "a ZeroShotSource with a word for each class"
            )
        if self.template >= self.texts:
            raise ValueError(f"template={self.template} of {name}: the source has {self.texts}, counted from 0")
        self.register_buffer("chosen", torch.full((num_classes,), self.template))

    def forward(self, logits: Tensor) -> Tensor:
        first = torch.arange(len(self.chosen), device=logits.device) * self.texts
        return logits[:, first + self.chosen]


class TextMapping(FixedTextMapping):
    """Each class chooses its template, by the texts that its training images are taken for.

    T[s, k] counts images of class k for which text s has the highest score of all K·T; class k takes the text of its own with the
    largest count, of equals the first. Where no image of a class is taken for any of its texts, its choice stays. They are counted
    with the prompt at its start, and again in each epoch by the answers that training gets anyway.

    Args:
        template: number of the one to begin with, from 0.
        once: whether the choice at the start is kept.

    Raises:
        ValueError: as for `FixedTextMapping`; at `observe` for targets that are not one class an image.

    Reference:
        Chen, Yao, Chen, Zhang, Liu, "Understanding and Improving Visual Prompting: A Label-Mapping Perspective", CVPR 2023, section 5
        (ILM-VP on CLIP).

    Deviation:
        A class takes no text on another one, for which the injective mappings are.
    """

    fitted: Tensor

    def __init__(self, template: int = 0, once: bool = False) -> None:
        super().__init__(template)
        self.once = once

    def build(
        self, num_source: int, num_classes: int, source_names: list[str] | None, class_names: list[str] | None
    ) -> None:
        super().build(num_source, num_classes, source_names, class_names)
        self.counts = Counts(num_source, num_classes)
        self.register_buffer("fitted", torch.tensor(False))

    def needs_data(self) -> bool:
        return not bool(self.fitted)

    @torch.no_grad()
    def observe(self, logits: Tensor, target: Tensor) -> None:
        if self.needs_data() or not self.once:
            best = logits.argmax(dim=1, keepdim=True)
            self.counts.add(best, target, torch.ones_like(best))

    def forget(self) -> None:
        self.counts.table = None

    def refit(self) -> None:
        counts = self.counts.take(self.chosen.device) if self.needs_data() or not self.once else None
        if counts is not None:
            own = own_counts(counts, self.texts)
            self.chosen.copy_(torch.where(own.any(dim=1), own.argmax(dim=1), self.chosen))
            self.fitted.fill_(True)


def own_counts(counts: Tensor, texts: int) -> Tensor:
    """Counts (K, T) of each class's own texts, from those of all (K·T, K).

    Example:
        >>> own_counts(torch.tensor([[1, 9], [2, 9], [9, 3], [9, 4]]), texts=2).tolist()
        [[1, 2], [3, 4]]
    """
    number = counts.shape[1]
    classes = torch.arange(number, device=counts.device)
    return counts.view(number, texts, number)[classes, :, classes]
