"""Few-shot rules."""

from lightning_transfer.contracts import FewShotRule
from lightning_transfer.inner_loops.start import way_means
import torch


class PrototypeRule(FewShotRule):
    def forward(self, support, target, query, classes=None):
        if support.ndim == 2:
            return -torch.cdist(query, way_means(support, target)).square()
        return torch.stack([self(*one) for one in zip(support, target, query)])
