import pytest
import torch

from lightning_transfer.contracts import Features, Prediction


@pytest.fixture
def made():
    """Numbers that every machine and release makes alike; the published codes were run on the same."""

    def make(*shape, shift=0.0):
        n = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
        return (torch.sin(0.7 * n + shift) + torch.cos(0.13 * n**2 + shift)).float().reshape(shape)

    return make


@pytest.fixture
def seen():
    """A prediction of which only features matter."""

    def see(feature=None, logits=None, **layers):
        feature = next(iter(layers.values())) if feature is None else feature
        logits = torch.zeros(len(feature), 3) if logits is None else logits
        embedding = feature if feature.ndim == 2 else feature.flatten(2).mean(2)
        return Prediction(logits, Features(embedding, (feature,), layers))

    return see
