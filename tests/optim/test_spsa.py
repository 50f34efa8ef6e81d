import pytest
import torch
from torch import nn
from torch.optim import SGD

from lightning_transfer.optim import SPSA


def quadratic():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    parameters = [
        nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in ((2, 2), (2,))
    ]
    flat = lambda: torch.cat([p.flatten() for p in parameters])  # noqa: E731
    return parameters, lambda: (root @ flat()).square().sum() / 2 + flat().sum()


def test_the_mean_of_many_estimates_is_the_gradient():
    """Of a quadratic two-sided differences are exact, so that each estimate is right on average."""
    parameters, loss = quadratic()
    true = torch.cat([g.flatten() for g in torch.autograd.grad(loss(), parameters)])
    estimates = torch.stack([
        torch.cat([g.flatten() for g in SPSA(c=0.3).estimate(parameters, loss, 1)[1]]) for _ in range(4000)
    ])  # fmt: skip
    error = estimates.std(dim=0) / len(estimates) ** 0.5
    assert ((estimates.mean(dim=0) - true).abs() < 4 * error).all()
    assert (error < 0.2 * true.abs().max()).all()  # so that the interval says something


def test_averages_reduce_the_variance():
    parameters, loss = quadratic()
    spread = [
        torch.stack([SPSA(averages=n).estimate(parameters, loss, 1)[1][0] for _ in range(400)]).var(dim=0).mean()
        for n in (1, 8)
    ]
    assert spread[0] / spread[1] == pytest.approx(8, rel=0.4)


@pytest.mark.parametrize("averages", [1, 3])
def test_asks_twice_an_average_and_leaves_parameters_as_they_were(averages):
    parameters, loss = quadratic()
    before = [p.detach().clone() for p in parameters]
    asked, moved = [], []

    def counted():
        asked.append(torch.is_grad_enabled())
        moved.append((parameters[0] - before[0]).abs().detach())
        return loss()

    SPSA(c=0.5, gamma=1.0, averages=averages).surrogate(parameters, counted, step=5)
    assert asked == [False] * (2 * averages)
    torch.testing.assert_close(torch.stack(moved), torch.full((2 * averages, 2, 2), 0.1, dtype=torch.float64))  # c / k
    assert all(torch.equal(p, b) for p, b in zip(parameters, before, strict=True))


def test_parameters_come_back_even_from_a_failure():
    parameters, _ = quadratic()
    before = parameters[0].detach().clone()
    with pytest.raises(ZeroDivisionError):
        SPSA().estimate(parameters, lambda: torch.tensor(1 / 0), 1)
    assert torch.equal(parameters[0], before)


def test_the_surrogate_has_the_loss_as_value_and_the_estimate_as_gradient():
    parameters, loss = quadratic()
    torch.manual_seed(3)
    value, estimate = SPSA(c=1e-3, averages=2).estimate(parameters, loss, 1)
    torch.manual_seed(3)
    surrogate = SPSA(c=1e-3, averages=2).surrogate(parameters, loss, 1)
    surrogate.backward()
    assert surrogate.item() == value.item()
    assert value.item() == pytest.approx(loss().item(), rel=1e-3)
    for parameter, g in zip(parameters, estimate, strict=True):
        assert torch.equal(parameter.grad, g)


def test_goes_down_by_asking_alone():
    parameters, loss = quadratic()
    optimizer, first = SGD(parameters, lr=0.01), loss().item()
    for step in range(300):
        optimizer.zero_grad()
        SPSA().surrogate(parameters, loss, step + 1).backward()
        optimizer.step()
    assert loss().item() < 0.2 * first


@pytest.mark.parametrize("options", [{"c": 0}, {"gamma": -1}, {"averages": 0}])
def test_refuses_what_is_out_of_range(options):
    with pytest.raises(ValueError, match="c must be positive, gamma at least 0, averages at least 1"):
        SPSA(**options)
