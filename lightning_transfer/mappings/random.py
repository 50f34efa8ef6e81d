"""Classes of the source at random."""

import torch
from torch import Tensor

from lightning_transfer.mappings.injective import InjectiveMapping


class RandomMapping(InjectiveMapping):
    """Each class is a source drawn without replacement; what other mappings are to be better than.

    Args:
        seed: of the draw, whatever the run's is.

    Reference:
        Elsayed, Goodfellow, Sohl-Dickstein, "Adversarial Reprogramming of Neural Networks", ICLR 2019; called RLM in Chen et al.,
        "Understanding and Improving Visual Prompting: A Label-Mapping Perspective", CVPR 2023.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    def choose(
        self, num_source: int, num_classes: int, source_names: list[str] | None, class_names: list[str] | None
    ) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randperm(num_source, generator=generator)[:num_classes].unsqueeze(1)
