"""A gradient from values of the loss alone, for networks that can only be asked."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_transfer.parts import Part


class SPSA(Part):
    """Simultaneous perturbation: the loss at θ + cΔ and at θ - cΔ, Δ being signs drawn for all parameters at once, estimates the gradient.

    It is right on average up to c², but its variance grows with the number of parameters: few parameters, small rates and many steps.

    Args:
        c: how far parameters are moved, > 0, in their own units.
        gamma: in step k = 1, 2, ... it is c / k^gamma, ≥ 0; 0.101 is Spall's.
        averages: estimates whose mean is taken, each at two values of the loss.

    Raises:
        ValueError: for values out of range.

    Reference:
        Spall, "Multivariate Stochastic Approximation Using a Simultaneous Perturbation Gradient Approximation", IEEE Transactions on
        Automatic Control 37(3), 1992, equation 2.2.
    """

    def __init__(self, c: float = 0.01, gamma: float = 0.101, averages: int = 1) -> None:
        if c <= 0 or gamma < 0 or averages < 1:
            raise ValueError(
                f"c={c}, gamma={gamma}, averages={averages} of SPSA: c must be positive, gamma at least 0, averages at least 1"
            )
        self.c, self.gamma, self.averages = c, gamma, averages

    @torch.no_grad()
    def estimate(
        self, parameters: Sequence[Tensor], loss: Callable[[], Tensor], step: int
    ) -> tuple[Tensor, list[Tensor]]:
        """Ask for the loss 2 · averages times.

        Args:
            parameters: which the loss depends on; moved meanwhile, and put back to the bit.
            loss: of the parameters as they are, a scalar.
            step: k ≥ 1.

        Returns:
            the mean of the losses, and an estimate of the gradient for each parameter.
        """
        c = self.c / step**self.gamma
        start = [parameter.clone() for parameter in parameters]
        gradient = [torch.zeros_like(parameter) for parameter in parameters]
        total = torch.zeros(())
        try:
            for _ in range(self.averages):
                signs = [torch.randint_like(parameter, 2) * 2 - 1 for parameter in parameters]
                above, below = (self._at(parameters, start, signs, s * c, loss) for s in (1, -1))
                total = total.to(above.device) + (above + below) / (2 * self.averages)
                for g, sign in zip(gradient, signs, strict=True):
                    g += (above - below) / (2 * c * self.averages) * sign  # 1 / Δ is Δ for signs
        finally:
            torch._foreach_copy_(list(parameters), start)
        return total, gradient

    def surrogate(self, parameters: Sequence[Tensor], loss: Callable[[], Tensor], step: int) -> Tensor:
        """A scalar with the mean of the losses as its value and the estimate as its gradient, so that any optimiser can use it."""
        value, gradient = self.estimate(parameters, loss, step)
        for parameter, estimated in zip(parameters, gradient, strict=True):
            value = value + ((parameter - parameter.detach()) * estimated).sum()  # zero, with the estimate as gradient
        return value

    @staticmethod
    def _at(
        parameters: Sequence[Tensor],
        start: Sequence[Tensor],
        signs: Sequence[Tensor],
        c: float,
        loss: Callable[[], Tensor],
    ) -> Tensor:
        for parameter, origin, sign in zip(parameters, start, signs, strict=True):
            parameter.copy_(origin + c * sign)
        torch.clear_autocast_cache()  # it would go on with a parameter's value in half precision from before
        return loss()
