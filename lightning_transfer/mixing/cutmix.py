"""A rectangle of one image on another."""

from typing import Any

from torchvision.transforms import v2

from lightning_transfer.mixing.base import Mixing, check_alpha


class CutMix(Mixing):
    """A rectangle of another image is pasted in, and the targets are mixed by area; one rectangle for all pairs of a batch.

    Args:
        alpha: > 0, of the Beta distribution that the area left free is drawn from; at 1 every share is as likely.

    Raises:
        ValueError: for an alpha that is not positive.

    Reference:
        Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019, equation 1.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = check_alpha("alpha", alpha)

    def transform(self) -> Any:
        return v2.CutMix(alpha=self.alpha)
