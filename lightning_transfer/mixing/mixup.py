"""Whole images laid over one another."""

from typing import Any

from torchvision.transforms import v2

from lightning_transfer.mixing.base import Mixing, check_alpha


class Mixup(Mixing):
    """A weighted mean of two images, and of their targets; one share, of Beta(alpha, alpha), for all pairs of a batch.

    Args:
        alpha: > 0; below 1 one of the two images mostly prevails.

    Raises:
        ValueError: for an alpha that is not positive.

    Reference:
        Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, equation 1.
    """

    def __init__(self, alpha: float = 0.8) -> None:
        self.alpha = check_alpha("alpha", alpha)

    def transform(self) -> Any:
        return v2.MixUp(alpha=self.alpha)
