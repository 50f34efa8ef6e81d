import pytest
import torch

from lightning_transfer.metrics.collapse import effective_rank, relative_deviation


def test_what_lies_in_all_directions_has_the_deviation_one():
    assert relative_deviation(torch.randn(4000, 64)).item() == pytest.approx(1, abs=0.01)


def test_what_has_collapsed_has_none():
    alike = torch.randn(1, 64).expand(100, 64)
    assert relative_deviation(alike).item() == pytest.approx(0, abs=1e-6)
    assert effective_rank(alike) == 0


@pytest.mark.parametrize("rank", [1, 5, 20])
def test_the_rank_is_the_number_of_like_directions(rank):
    directions = torch.linalg.qr(torch.randn(64, rank))[0]
    signs = torch.cat([torch.eye(rank), -torch.eye(rank)])
    embedding = 3 + signs @ directions.T
    assert effective_rank(embedding).item() == pytest.approx(rank, rel=1e-4)
    assert effective_rank(5 * embedding).item() == pytest.approx(rank, rel=1e-4)


def test_unlike_directions_count_less():
    signs = torch.tensor([[1.0, 0], [-1, 0], [0, 0.1], [0, -0.1]])
    p = torch.tensor([1 / 1.1, 0.1 / 1.1])
    assert effective_rank(signs).item() == pytest.approx((-(p * p.log()).sum()).exp().item(), rel=1e-5)
