import pytest
import torch
from torch import nn

from lightning_transfer.compression.hessian import Hessian, damped, dead_inputs


def test_half_of_a_changes_square_under_it_is_the_mean_squared_change_of_the_output(gather):
    layer = nn.Conv2d(4, 6, 3, padding=1, groups=2).double()
    images = torch.randn(5, 4, 6, 6, dtype=torch.float64)
    found = gather(layer, images[:2], images[2:])
    before = layer(images)
    change = torch.randn_like(found.weight)
    with torch.no_grad():
        layer.weight += change.unflatten(2, (9, 2)).transpose(2, 3).reshape(6, 2, 3, 3)
    expected = (layer(images) - before).square().sum() / 5
    assert found.error(found.weight + change) == pytest.approx(expected.item(), rel=1e-12)


def test_does_not_depend_on_batches(gather):
    layer, images = nn.Conv2d(3, 2, 3), torch.rand(6, 3, 7, 7)
    one, many = gather(layer, images), gather(layer, *images.split([1, 2, 3]))
    torch.testing.assert_close(one.hessian, many.hessian, rtol=1e-6, atol=0)
    assert one.hessian.dtype is torch.float64
    assert torch.equal(one.hessian, one.hessian.mT)


def test_depthwise_has_a_matrix_for_each_channel(gather):
    layer, images = nn.Conv2d(3, 3, 3, groups=3).double(), torch.rand(4, 3, 7, 7, dtype=torch.float64)
    found = gather(layer, images)
    for c in range(3):
        one = gather(nn.Conv2d(1, 1, 3).double(), images[:, c : c + 1])
        torch.testing.assert_close(found.hessian[c], one.hessian[0])


def test_damping_is_a_share_of_the_mean_and_grows_where_it_must():
    hessian = torch.diag(torch.tensor([1.0, 3.0])).double().unsqueeze(0)
    matrix, inverse = damped(hessian, 0.5)
    assert torch.equal(matrix, hessian + torch.eye(2))
    torch.testing.assert_close(matrix @ inverse, torch.eye(2).double().unsqueeze(0))
    singular = torch.ones(1, 3, 3).double()
    matrix, inverse = damped(singular, 0.0)
    assert inverse.isfinite().all()
    assert (matrix - singular).abs().max() < 1e-3


def test_dead_inputs_stand_alone():
    hessian = torch.diag(torch.tensor([0.0, 4.0])).double().unsqueeze(0)
    assert dead_inputs(hessian).tolist() == [[True, False]]
    assert damped(hessian, 0.0)[0].diagonal(dim1=1, dim2=2).tolist() == [[2.0, 4.0]]
    assert damped(torch.zeros(1, 2, 2).double(), 0.0)[0].diagonal(dim1=1, dim2=2).tolist() == [[1.0, 1.0]]


def test_complaints():
    with pytest.raises(ValueError, match="no calibration image"):
        Hessian(nn.Linear(2, 2)).matrix()
    with pytest.raises(ValueError, match="not finite"):
        damped(torch.full((1, 2, 2), torch.nan).double(), 0.1)
    with pytest.raises(ValueError, match="cannot be inverted"):
        damped(-torch.eye(2).double().unsqueeze(0), 0.0)
