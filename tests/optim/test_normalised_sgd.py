from functools import partial

import pytest
import torch
from torch import nn

from lightning_transfer.optim import NormalisedSGD, Optim


def test_each_tensor_goes_down_its_gradient_by_the_rate():
    a, b = nn.Parameter(torch.tensor([3.0, -4.0])), nn.Parameter(torch.tensor([[10.0]]))
    optimizer = NormalisedSGD([a, b], lr=2.0)
    (a.square().sum() / 2 - 1e-6 * b.sum()).backward()  # gradients (3, -4) and -1e-6
    optimizer.step()
    torch.testing.assert_close(a.data, torch.tensor([3 - 2 * 0.6, -4 + 2 * 0.8]))
    torch.testing.assert_close(b.data, torch.tensor([[12.0]]))


def test_nothing_moves_where_there_is_no_gradient():
    a, b, c = (nn.Parameter(torch.ones(2)) for _ in range(3))
    optimizer = NormalisedSGD([a, b, c], lr=70)
    a.grad = torch.zeros(2)
    c.grad = torch.full((2,), 1e-30)  # its squares are zero in single precision
    optimizer.step()
    assert torch.equal(a.data, torch.ones(2))
    assert torch.equal(b.data, torch.ones(2))
    assert c.isfinite().all()


def test_takes_a_closure_and_a_schedule():
    model = nn.Linear(2, 1)
    made = Optim(partial(NormalisedSGD, lr=0.5)).build(model, 10)
    optimizer, rate = made["optimizer"], made["optimizer"].param_groups[0]["lr"]
    assert rate == pytest.approx(0.5)  # one step of warm-up is the whole of it

    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(3, 2)).sum()
        loss.backward()
        return loss

    before = model.weight.detach().clone()
    assert optimizer.step(closure).isfinite()
    assert (model.weight - before).norm().item() == pytest.approx(0.5)


def test_refuses_a_rate_of_nothing():
    with pytest.raises(ValueError, match="lr=0 of NormalisedSGD must be positive"):
        NormalisedSGD([nn.Parameter(torch.ones(1))], lr=0)
