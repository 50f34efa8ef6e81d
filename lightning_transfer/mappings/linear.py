"""A layer on the source's scores."""

import torch
from torch import Tensor, nn

from lightning_transfer.mappings.base import LabelMapping
from lightning_transfer.mappings.injective import InjectiveMapping


class LinearMapping(LabelMapping):
    """Trained: a class's score is a weighted sum of all sources' and a bias. A linear probe that looks at scores instead of features.

    Args:
        start: mapping whose answers it begins with, and which it is free to leave; random weights if not given.

    Shape:
        logits (B, S) → (B, K); linear.weight (K, S)

    Reference:
        Tsao, Hsiung, Chen, Liu, Chen, Ho, "AutoVP: An Automated Visual Prompting Framework and Benchmark", ICLR 2024, section 3
        (fully connected mapping).
    """

    def __init__(self, start: InjectiveMapping | None = None) -> None:
        super().__init__()
        self.start = start

    def build(
        self, num_source: int, num_classes: int, source_names: list[str] | None, class_names: list[str] | None
    ) -> None:
        self.linear = nn.Linear(num_source, num_classes)
        if self.start is not None:
            self.start.build(num_source, num_classes, source_names, class_names)
            self._begin(self.start)

    def forward(self, logits: Tensor) -> Tensor:
        scores: Tensor = self.linear(logits)
        return scores

    def needs_data(self) -> bool:
        return self.start is not None and self.start.needs_data()

    def observe(self, logits: Tensor, target: Tensor) -> None:
        if self.start is not None and self.start.needs_data():
            self.start.observe(logits, target)

    def forget(self) -> None:
        if self.start is not None:
            self.start.forget()

    def refit(self) -> None:
        if self.start is not None and self.start.needs_data():
            self.start.refit()
            self._begin(self.start)

    @torch.no_grad()
    def _begin(self, start: InjectiveMapping) -> None:
        self.linear.bias.zero_()
        self.linear.weight.zero_().scatter_(1, start.sources, 1 / start.sources_per_class)
