"""The classes that the source sees in images of the targets'."""

import torch
from torch import Tensor

from lightning_transfer.mappings.counts import Counts
from lightning_transfer.mappings.greedy import greedy
from lightning_transfer.mappings.injective import InjectiveMapping, check_sources_per_class


class FrequencyMapping(InjectiveMapping):
    """Each class is the source that its training images are most often taken for, by the network with the prompt at its start.

    T[s, k] counts images of class k for which source s has the highest score. The pair of the largest count is bound, its source and
    class are struck out, and so on; of equal counts the lowest source comes first, then the lowest class. A class without images gets
    the lowest source that is left. Before it is estimated class k is source k.

    Args:
        sources_per_class: m ≥ 1 sources a class, whose scores are averaged.

    Raises:
        ValueError: for values out of range; at `observe` for targets that are not one class an image.

    Reference:
        Chen, Yao, Chen, Zhang, Liu, "Understanding and Improving Visual Prompting: A Label-Mapping Perspective", CVPR 2023, section
        4 (FLM); Tsai, Chen, Ho, "Transfer Learning without Knowing: Reprogramming Black-box Machine Learning Models with Scarce Data
        and Limited Resources", ICML 2020 (frequencies, several sources a class).
    """

    fitted: Tensor

    def __init__(self, sources_per_class: int = 1) -> None:
        super().__init__()
        self.sources_per_class = check_sources_per_class(sources_per_class)

    def choose(
        self, num_source: int, num_classes: int, source_names: list[str] | None, class_names: list[str] | None
    ) -> Tensor:
        self.counts = Counts(num_source, num_classes)
        self.register_buffer("fitted", torch.tensor(False))
        return self.first(num_classes)

    def needs_data(self) -> bool:
        return not bool(self.fitted)

    @torch.no_grad()
    def observe(self, logits: Tensor, target: Tensor) -> None:
        if self.is_counting():
            best = logits.argmax(dim=1, keepdim=True)
            self.counts.add(best, target, torch.ones_like(best))

    def is_counting(self) -> bool:
        """Whether what training shows still matters."""
        return self.needs_data()

    def forget(self) -> None:
        self.counts.table = None

    def refit(self) -> None:
        counts = self.counts.take(self.sources.device) if self.is_counting() else None
        if counts is not None:
            self.sources.copy_(greedy(counts.cpu(), self.sources_per_class))
            self.fitted.fill_(True)
