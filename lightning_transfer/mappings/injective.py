"""Mappings that give each class sources of its own."""

from abc import abstractmethod

import torch
from torch import Tensor

from lightning_transfer.mappings.base import LabelMapping


class InjectiveMapping(LabelMapping):
    """Base of the mappings by which a class's score is that of a source, or the mean of several, that serve no other class.

    Attributes:
        sources_per_class: m ≥ 1.
        sources: which they are, a buffer.

    Shape:
        logits (B, S) → (B, K); sources (K, m) int64

    Raises:
        ValueError: at `build`, for fewer than K·m sources.
    """

    sources_per_class: int = 1
    sources: Tensor

    def build(
        self, num_source: int, num_classes: int, source_names: list[str] | None, class_names: list[str] | None
    ) -> None:
        if num_classes * self.sources_per_class > num_source:
            raise ValueError(
                f"{type(self).__name__} gives each class {self.sources_per_class} of the source's classes for itself, but for "
                f"num_classes={num_classes} the source has only {num_source}; BayesianMapping and LinearMapping share them"
            )
        self.register_buffer("sources", self.choose(num_source, num_classes, source_names, class_names))

    @abstractmethod
    def choose(
        self, num_source: int, num_classes: int, source_names: list[str] | None, class_names: list[str] | None
    ) -> Tensor:
        """Choose sources (K, m) to begin with; arguments as for `build`."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits[:, self.sources].mean(dim=2)

    def first(self, num_classes: int) -> Tensor:
        """The first K·m sources in their order."""
        return torch.arange(num_classes * self.sources_per_class).view(num_classes, -1)


def check_sources_per_class(sources_per_class: int) -> int:
    """Refuse a number of sources that is no number."""
    if sources_per_class < 1:
        raise ValueError(f"sources_per_class={sources_per_class} must be at least 1; 1 binds each class to one source")
    return sources_per_class
