import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from lightning_transfer.probes import scaling as module
from lightning_transfer.probes.scaling import scaling


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("rows", [7, 8192])
def test_equals_scikit_learn_in_parts_and_at_once(standardise, rows, monkeypatch):
    monkeypatch.setattr(module, "_ROWS", rows)
    embedding = torch.randn(50, 4) * torch.tensor([1.0, 10.0, 0.0, 0.1]) + 100 * torch.rand(4)
    expected = StandardScaler(with_std=standardise).fit_transform(embedding.double().numpy())
    np.testing.assert_allclose(scaling(embedding, standardise)(embedding).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_head_takes_raw_embeddings():
    embedding = (3 * torch.randn(20, 4) + 2).double()
    weight, bias = torch.randn(3, 4).double(), torch.randn(3).double()
    scale = scaling(embedding, True)
    head = scale.head(weight, bias, embedding)
    torch.testing.assert_close(head(embedding).detach(), scale(embedding) @ weight.T + bias)
