"""Transforms: made by `(size)`, they turn uint8 (3, H, W) into (3, size, size)."""

from typing import Any, Literal, get_args

from torch import Tensor, nn
from torchvision.transforms import v2

from lightning_transfer.parts import Part

Auto = Literal["none", "rand", "trivial", "augmix"]
_GREY = (124, 116, 104)  # ImageNet's mean, of 255: what most backbones' normalisation turns into zero


class TrainTransform(Part, nn.Module):
    """A random crop, resized, perhaps mirrored, turned, changed in shape and colour, and with a hole, in this order.

    Args:
        size: side of the result in pixels.
        scale: least and largest share of the area that a crop takes.
        ratio: least and largest width over height of a crop.
        flip: probability of mirroring left to right; 0 for characters.
        rotation: largest angle in degrees, either way.
        auto: `rand` applies two changes of shape or colour, drawn from fourteen, at one strength (RandAugment); `trivial` one at a strength
            that is drawn too (TrivialAugment), which leaves nothing to be tuned; `augmix` mixes three chains of one to three changes
            with the image (AugMix), and is the slowest.
        magnitude: strength of `rand`, 0 to 30; 9 if not given.
        erase: probability that a rectangle of 2 to 33 percent of the area is filled with grey.

    Raises:
        ValueError: for values out of range, or a magnitude where nothing has one.

    Reference:
        Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space", NeurIPS 2020;
        Müller, Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", ICCV 2021;
        Hendrycks et al., "AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty", ICLR 2020;
        Zhong et al., "Random Erasing Data Augmentation", AAAI 2020.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.35, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        rotation: float = 0.0,
        auto: Auto = "none",
        magnitude: int | None = None,
        erase: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= erase <= 1:
            raise ValueError(f"erase={erase} is a probability and lies in [0, 1]; 0.25 is common")
        steps: list[nn.Module] = [v2.RandomResizedCrop(size, scale=scale, ratio=ratio, antialias=True)]
        if flip:
            steps.append(v2.RandomHorizontalFlip(flip))
        if rotation:
            steps.append(v2.RandomRotation(rotation, v2.InterpolationMode.BILINEAR))
        steps += _automatic(auto, magnitude)
        if erase:
            steps.append(v2.RandomErasing(erase, value=_GREY))
        self.steps = nn.Sequential(*steps)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.steps(image)
        return result


def _automatic(auto: Auto, magnitude: int | None) -> list[nn.Module]:
    if auto not in get_args(Auto):
        raise ValueError(f"auto={auto!r} must be one of {', '.join(get_args(Auto))}")
    if magnitude is not None and auto != "rand":
        raise ValueError(f"magnitude={magnitude} is the strength of auto=rand, but auto={auto} has none; leave it out")
    if magnitude is not None and not 0 <= magnitude <= 30:
        raise ValueError(f"magnitude={magnitude} lies in 0 to 30; 9 is common")
    options: dict[str, Any] = {"interpolation": v2.InterpolationMode.BILINEAR, "fill": _GREY}
    if auto == "rand":
        return [v2.RandAugment(magnitude=9 if magnitude is None else magnitude, **options)]
    return [{"trivial": v2.TrivialAugmentWide, "augmix": v2.AugMix}[auto](**options)] if auto != "none" else []


class WholeTransform(Part, nn.Module):
    """The whole image, each side resized to `size` whatever its length.

    Args:
        size: side of the result in pixels.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.resize = v2.Resize((size, size), antialias=True)

    def forward(self, image: Tensor) -> Tensor:
        resized: Tensor = self.resize(image)
        return resized


class ShiftTransform(Part, nn.Module):
    """Small pictures as they are, shifted in any direction over a black ground: characters and digits.

    Args:
        size: side of the result in pixels.
        pixels: greatest shift along either side.

    Raises:
        ValueError: for a shift that is negative or as large as the picture.
    """

    def __init__(self, size: int, pixels: int = 2) -> None:
        super().__init__()
        if not 0 <= pixels < size:
            raise ValueError(
                f"pixels={pixels} of ShiftTransform must lie in 0 to {size - 1}; 2 is common for digits of 28"
            )
        self.steps = nn.Sequential(WholeTransform(size), v2.RandomCrop(size, padding=pixels))

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.steps(image)
        return result


class EvalTransform(Part, nn.Module):
    """The middle of the image.

    Args:
        size: side of the result in pixels.
        crop: share of the short side that is kept, in (0, 1].

    Raises:
        ValueError: for a share outside (0, 1].
    """

    def __init__(self, size: int, crop: float = 0.875) -> None:
        super().__init__()
        if not 0 < crop <= 1:
            raise ValueError(
                f"crop={crop} is the share of the short side that is kept and lies in (0, 1]; 0.875 is common"
            )
        self.size, self.crop, self.short_side = size, crop, round(size / crop)
        self.steps = nn.Sequential(v2.Resize(self.short_side, antialias=True), v2.CenterCrop(size))

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.steps(image)
        return result
