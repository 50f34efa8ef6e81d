import pytest
import torch

from lightning_transfer.contracts import Embedded


@pytest.fixture
def clusters():
    """Embeddings (N, D) in double precision around one centre a class, that overlap."""

    def make(num_classes=3, count=90, width=7, noise=1.5, seed=0, several=False):
        generator = torch.Generator().manual_seed(seed)
        centre = torch.randn(num_classes, width, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
        target = torch.arange(count) % num_classes
        if several:
            target = torch.randint(2, (count, num_classes), generator=generator)
            target[:2] = torch.tensor([[0], [1]])
        spread = 1 + torch.arange(width, dtype=torch.float64)
        mean = (target.double() @ centre) if several else centre[target]
        noise = noise * torch.randn(count, width, generator=generator, dtype=torch.float64)
        return Embedded((mean + noise) * spread + 5, target.float() if several else target)

    return make
