"""Now one way of mixing, now the other."""

from collections.abc import Callable
from typing import Any

from torchvision.transforms import v2

from lightning_transfer.mixing.base import Mixing, check_alpha


class MixupOrCutMix(Mixing):
    """Draws for each batch whether it is mixed, and how; the defaults are those of timm's training recipes.

    Args:
        mixup: alpha of `Mixup`, > 0.
        cutmix: alpha of `CutMix`, > 0.
        switch: probability of CutMix where a batch is mixed, in [0, 1].
        probability: of mixing a batch at all, in [0, 1].

    Raises:
        ValueError: for values out of range.
    """

    def __init__(self, mixup: float = 0.8, cutmix: float = 1.0, switch: float = 0.5, probability: float = 1.0) -> None:
        self.mixup, self.cutmix = check_alpha("mixup", mixup), check_alpha("cutmix", cutmix)
        for name, value in (("switch", switch), ("probability", probability)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value} is a probability and lies in [0, 1]")
        self.switch = switch
        self.probability = probability

    def transform(self) -> Any:
        both: list[Callable[..., Any]] = [v2.MixUp(alpha=self.mixup), v2.CutMix(alpha=self.cutmix)]
        choice = v2.RandomChoice(both, p=[1 - self.switch, self.switch])
        return v2.RandomApply([choice], p=self.probability)
