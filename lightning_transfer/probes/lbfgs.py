"""L-BFGS for strictly convex functions."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Point(NamedTuple):
    """A function's value and gradient, and the size of the gradient that decides when to stop."""

    value: float
    gradient: Tensor
    size: float


class Minimum(NamedTuple):
    """Where the descent ended, and whether the gradient was small enough by then."""

    position: Tensor
    value: float
    steps: int
    converged: bool


def minimise(
    function: Callable[[Tensor], Point], start: Tensor, tolerance: float, max_steps: int, history: int = 20
) -> Minimum:
    """Descend until the gradient's size is at most `tolerance`, rounding stops all progress, or the steps are used up.

    The whole step is tried first and halved until it descends enough (Armijo). A strictly convex function has positive curvature
    along every step, so that this alone keeps the approximate inverse Hessian positive definite; no second Wolfe condition is needed.

    Args:
        function: of a vector (P,).
        start: (P,).
        tolerance: for `Point.size`.
        max_steps: limit of the steps.
        history: how many steps the curvature is remembered of.

    Reference:
        Nocedal, Wright, "Numerical Optimization", Springer 2006, algorithms 3.1, 7.4 and 7.5.
    """
    position, here = start, function(start)
    pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=history)
    for step in range(max_steps):
        if here.size <= tolerance:
            return Minimum(position, here.value, step, True)
        direction = -_inverse_hessian(here.gradient, pairs)
        moved, there = _line_search(function, position, here, direction)
        if there is None:  # no step descends any more: the value is as low as its precision allows
            return Minimum(position, here.value, step, True)
        change, curvature = moved - position, there.gradient - here.gradient
        product = float(change @ curvature)
        if product > 0:  # not so only by rounding
            pairs.append((change, curvature, 1 / product))
        position, here = moved, there
    return Minimum(position, here.value, max_steps, here.size <= tolerance)


def _inverse_hessian(gradient: Tensor, pairs: "deque[tuple[Tensor, Tensor, float]]") -> Tensor:
    """Multiply by the approximate inverse Hessian: the two-loop recursion, which begins with a step of length 1."""
    if not pairs:
        unit: Tensor = gradient / gradient.norm().clamp(min=1)
        return unit
    result: Tensor = gradient.clone()
    alphas: list[float] = []
    for change, curvature, rho in reversed(pairs):
        alphas.append(rho * float(change @ result))
        result.sub_(curvature, alpha=alphas[-1])
    _, curvature, rho = pairs[-1]
    result.div_(rho * float(curvature @ curvature))
    for (change, curvature, rho), alpha in zip(pairs, reversed(alphas), strict=True):
        result.add_(change, alpha=alpha - rho * float(curvature @ result))
    return result


def _line_search(
    function: Callable[[Tensor], Point], position: Tensor, here: Point, direction: Tensor
) -> tuple[Tensor, Point | None]:
    slope, length = float(here.gradient @ direction), 1.0
    for _ in range(20):
        moved = position + length * direction
        there = function(moved)
        # beside Armijo's condition, whose last term rounding may swallow
        if there.value < here.value and there.value <= here.value + 1e-4 * length * slope:
            return moved, there
        length /= 2
    return position, None
