"""Augmentation that leaves little but what is to be recognised: what contrastive training sees."""

from torch import Tensor, nn
from torchvision.transforms import v2

from lightning_transfer.parts import Part


class ContrastiveTransform(Part, nn.Module):
    """A random crop, resized, perhaps mirrored, changed in colour, without colour, blurred or inverted, in this order (SimCLR).

    Strengths suit pictures of 28 pixels as well as of 224: the blur's deviation is a share of the side. Characters want `flip=0`, and a
    `scale` from about 0.4; grey pictures neither hue nor `grey`.

    Args:
        size: side of the result in pixels, where `pixels` does not say another.
        scale: least and largest share of the area that a crop takes.
        flip: probability of mirroring left to right.
        colour: strength of the change of brightness, contrast and saturation by up to 0.8 times it, and of hue by 0.2 times it; the paper
            has 1 for ImageNet and 0.5 for CIFAR-10, 0 leaves colours as they are.
        colour_probability: how often colours are changed.
        grey: probability of losing all colour.
        blur: probability of a Gaussian blur; the paper has 0.5 for ImageNet and none for CIFAR-10.
        blur_deviation: least and largest deviation of the blur, as a share of the side; the paper's 0.1 to 2.0 of 224 pixels.
        solarise: probability of inverting all values above the middle.
        rotation: largest angle in degrees, either way, before the crop.
        pixels: side of the result; DINO's small views have 96 beside 224.

    Shape:
        uint8 (3, H, W) → (3, side, side)

    Raises:
        ValueError: for values out of range.

    Reference:
        Chen, Kornblith, Norouzi, Hinton, "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, appendix A;
        Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, appendix B (solarisation).
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.2, 1.0),
        flip: float = 0.5,
        colour: float = 0.5,
        colour_probability: float = 0.8,
        grey: float = 0.2,
        blur: float = 0.5,
        blur_deviation: tuple[float, float] = (0.0005, 0.009),
        solarise: float = 0.0,
        rotation: float = 0.0,
        pixels: int | None = None,
    ) -> None:
        super().__init__()
        _check_chances(flip=flip, colour_probability=colour_probability, grey=grey, blur=blur, solarise=solarise)
        _check_strengths(scale, colour, blur_deviation, pixels)
        side = pixels or size
        turned = [v2.RandomRotation(rotation, v2.InterpolationMode.BILINEAR)] if rotation else []
        steps: list[nn.Module] = [*turned, v2.RandomResizedCrop(side, scale=scale, antialias=True)]
        if flip:
            steps.append(v2.RandomHorizontalFlip(flip))
        if colour and colour_probability:
            jitter = v2.ColorJitter(0.8 * colour, 0.8 * colour, 0.8 * colour, 0.2 * colour)
            steps.append(v2.RandomApply([jitter], colour_probability))
        if grey:
            steps.append(v2.RandomGrayscale(grey))
        if blur:
            low, high = (share * side for share in blur_deviation)
            reach = 2 * max(1, round(0.05 * side)) + 1  # a tenth of the side, odd
            steps.append(v2.RandomApply([v2.GaussianBlur(reach, (low, high))], blur))
        if solarise:
            steps.append(v2.RandomSolarize(128, solarise))
        self.steps = nn.Sequential(*steps)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.steps(image)
        return result


def _check_chances(**chances: float) -> None:
    for name, value in chances.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value} of ContrastiveTransform is a probability and lies in [0, 1]")


def _check_strengths(
    scale: tuple[float, float], colour: float, blur_deviation: tuple[float, float], pixels: int | None
) -> None:
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(f"scale={list(scale)} of ContrastiveTransform are shares of the area, in (0, 1], rising")
    if not 0 <= colour <= 1.25:
        raise ValueError(f"colour={colour} of ContrastiveTransform lies in [0, 1.25]; 0.5 is common, 0 is none")
    if not 0 < blur_deviation[0] <= blur_deviation[1]:
        raise ValueError(f"blur_deviation={list(blur_deviation)} of ContrastiveTransform must be positive and rising")
    if pixels is not None and pixels < 1:
        raise ValueError(f"pixels={pixels} of ContrastiveTransform must be at least 1")
