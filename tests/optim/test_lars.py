import pytest
import torch
from torch import nn

from lightning_transfer.optim import LARS


def stepped(value, gradients, **options):
    parameter = nn.Parameter(torch.tensor(value))
    optimizer = LARS([parameter], **options)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
    return parameter.detach()


def test_two_steps_by_hand():
    found = stepped([[3.0, 4.0]], [[[1.0, 0.0]], [[0.0, 2.0]]], lr=0.5, momentum=0.9, weight_decay=0.1, trust=0.02)
    p, m = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    for g in ([[1.0, 0.0]], [[0.0, 2.0]]):
        u = torch.tensor(g) + 0.1 * p
        m = 0.9 * m + 0.02 * p.square().sum().sqrt() / u.square().sum().sqrt() * u
        p = p - 0.5 * m
    torch.testing.assert_close(found, p)
    # the first step: u = (1.3, 0.4), q = 0.02 * 5 / 1.36015
    first = stepped([[3.0, 4.0]], [[[1.0, 0.0]]], lr=0.5, momentum=0.9, weight_decay=0.1, trust=0.02)
    torch.testing.assert_close(first, torch.tensor([[2.952211, 3.985296]]), atol=1e-5, rtol=0)


def test_biases_and_norms_take_plain_steps_without_decay():
    found = stepped([3.0, 4.0], [[1.0, 0.0]] * 2, lr=0.5, momentum=0.5, weight_decay=0.1, trust=0.02)
    torch.testing.assert_close(found, torch.tensor([3 - 0.5 * (1 + 1.5), 4.0]))


def test_weights_or_updates_of_zero_take_the_gradient_as_it_is():
    torch.testing.assert_close(stepped([[0.0, 0.0]], [[[1.0, 2.0]]], lr=0.5), torch.tensor([[-0.5, -1.0]]))
    assert torch.equal(stepped([[3.0, 4.0]], [[[0.0, 0.0]]], weight_decay=0.0), torch.tensor([[3.0, 4.0]]))


def test_a_step_does_not_depend_on_the_gradients_length():
    one, other = (stepped([[3.0, 4.0]], [[[s, 2 * s]]], weight_decay=0.0) for s in (1.0, 1000.0))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("options", [{"lr": 0}, {"momentum": 1}, {"weight_decay": -1}, {"trust": 0}])
def test_refuses(options):
    with pytest.raises(ValueError, match="of LARS: rate and trust must be positive"):
        LARS([nn.Parameter(torch.zeros(1))], **options)
