import pytest
import torch

from lightning_transfer.metrics.cka import LinearCKA


def cka(x, y, *sizes):
    metric = LinearCKA(x.shape[1], y.shape[1])
    sizes = sizes or (len(x),)
    for a, b in zip(x.split(list(sizes)), y.split(list(sizes)), strict=True):
        metric.update(a, b)
    return metric.compute().item()


def by_kernels(x, y):
    """As in the authors' notebook: the alignment of the centred N x N kernels."""
    centre = torch.eye(len(x)).double() - 1 / len(x)
    k, m = (centre @ (z.double() @ z.double().T) @ centre for z in (x, y))
    return ((k * m).sum() / (k.norm() * m.norm())).item()


@pytest.fixture
def pair():
    x = 3 + torch.randn(40, 6)
    return x, x @ torch.randn(6, 9) + torch.randn(40, 9)


def test_is_the_alignment_of_kernels(pair):
    assert 0.2 < cka(*pair) < 0.95
    assert cka(*pair) == pytest.approx(by_kernels(*pair), abs=1e-9)
    assert cka(*pair) == pytest.approx(cka(*reversed(pair)))


def test_rotation_mirroring_shift_and_scale_change_nothing(pair):
    x, y = (z.double() for z in pair)
    turn = torch.linalg.qr(torch.randn(9, 9).double()).Q
    for other in (y @ turn, -y, 7 * y, y + 100 * torch.rand(9), y[:, torch.randperm(9)]):
        assert cka(x, other) == pytest.approx(cka(x, y), abs=1e-9)
    assert cka(y, 2 * y @ turn - 1) == pytest.approx(1)
    assert cka(x, x @ torch.diag(torch.tensor([9.0, 1, 1, 1, 1, 1])).double()) < 0.9  # one axis alone is another matter


def test_does_not_depend_on_how_images_are_cut_into_batches(pair):
    for sizes in ((39, 1), (1, 0, 39), (16, 16, 8), (1,) * 40):
        assert cka(*pair, *sizes) == pytest.approx(cka(*pair), abs=1e-9)
    over_batches = sum(cka(a, b) for a, b in zip(pair[0].split(8), pair[1].split(8), strict=True)) / 5
    assert over_batches > cka(*pair) + 0.05  # as a mean over batches would


def test_embeddings_far_from_zero_lose_no_digits(pair):
    x, y = (z.double() for z in pair)
    assert cka(x + 1e4, y) == pytest.approx(cka(x, y), abs=1e-6)


def test_what_is_constant_or_not_there_has_none(pair):
    x, y = pair
    for other in (torch.full((40, 3), 0.1), torch.zeros(40, 2), torch.empty(40, 0)):
        assert cka(other, y) != cka(other, y)
        assert cka(x, other) != cka(x, other)


def test_processes_add_up(pair):
    whole, parts = LinearCKA(6, 9), [LinearCKA(6, 9), LinearCKA(6, 9)]
    whole.update(*pair)
    for part, rows in zip(parts, (slice(0, 13), slice(13, 40)), strict=True):
        part.update(*(z[rows] for z in pair))
    for name in ("count", "total", "products"):
        torch.testing.assert_close(sum(getattr(part, name) for part in parts), getattr(whole, name))
