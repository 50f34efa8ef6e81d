import pytest
import torch

from lightning_transfer.probes.lbfgs import Point, minimise


def test_minimise_solves_a_quadratic_in_few_steps():
    root = torch.randn(6, 6, dtype=torch.float64)
    matrix, goal = root @ root.T + torch.eye(6), torch.arange(6.0).double()

    def function(x):
        gradient = matrix @ (x - goal)
        return Point(0.5 * float((x - goal) @ gradient), gradient, float(gradient.abs().max()))

    found = minimise(function, torch.zeros(6).double(), 1e-9, 200)
    assert found.converged
    torch.testing.assert_close(found.position, goal)
    assert not minimise(function, torch.zeros(6).double(), 1e-9, 2).converged


def test_finds_the_minimum_of_a_function_that_is_no_quadratic():
    def function(x):
        x = x.clone().requires_grad_()
        value = (x.exp() - 3 * x).sum() + x.square().sum() ** 2
        (gradient,) = torch.autograd.grad(value, x)
        return Point(value.item(), gradient, float(gradient.abs().max()))

    found = minimise(function, torch.full((3,), 40.0).double(), 1e-10, 300)
    x = found.position
    assert found.converged
    torch.testing.assert_close(x.exp() - 3 + 4 * x * x.square().sum(), torch.zeros(3).double(), rtol=0, atol=1e-9)


def test_ends_where_precision_does():
    def function(x):
        return Point(float((x - 1).square().sum()), 2 * (x - 1), 1.0)  # a size that is never small

    found = minimise(function, torch.zeros(2), 1e-9, 1000)
    assert found.converged
    assert found.steps < 20
    assert found.position.tolist() == pytest.approx([1, 1])
