import pytest
import torch
from torch import nn

from lightning_transfer.compression.hessian import Hessian
from lightning_transfer.compression.rows import LayerRows, neighbours, weight_rows


def rows_of(layer, *batches, name="layer"):
    """What is known of a layer after it was given these inputs."""
    hessian = Hessian(layer)
    for batch in batches:
        hessian.add(batch)
    return LayerRows(name, weight_rows(layer), hessian.matrix(), neighbours(layer))


@pytest.fixture
def gather():
    return rows_of


@pytest.fixture
def linear():
    """Six rows of twelve weights, with inputs that resemble one another, as they do behind a ReLU."""
    torch.manual_seed(0)
    layer = nn.Linear(12, 6).double()
    mix = torch.randn(12, 12, dtype=torch.float64)
    return rows_of(layer, (torch.randn(200, 12, dtype=torch.float64) @ mix).relu())


@pytest.fixture
def batches():
    """Calibration images, of unlike numbers."""
    return [torch.rand(n, 3, 12, 12) for n in (6, 4)]
