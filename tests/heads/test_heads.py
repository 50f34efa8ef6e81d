import pytest
import torch

from lightning_transfer.heads import CosineHead, LinearHead, MLPHead


@pytest.mark.parametrize("head", [LinearHead, MLPHead, CosineHead])
def test_maps_embeddings_to_logits(head):
    assert head(8, 3)(torch.randn(4, 8)).shape == (4, 3)


def test_linear_starts_with_the_uniform_prediction():
    assert LinearHead(8, 3)(torch.randn(4, 8)).abs().max() == 0


def test_cosine_ignores_length_and_is_bounded_by_its_scale():
    head, embedding = CosineHead(8, 3, scale=5.0), torch.randn(4, 8)
    torch.testing.assert_close(head(embedding), head(7 * embedding))
    assert head(head.weight.detach()).diagonal().detach() == pytest.approx([5.0] * 3, rel=1e-5)
