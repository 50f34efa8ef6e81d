"""Transforms: made by `(size)`, they turn uint8 (3, H, W) into (3, size, size)."""

from torch import Tensor, nn
from torchvision.transforms import v2

from lightning_transfer.parts import Part


class TrainTransform(Part, nn.Module):
    """A random crop, resized, perhaps mirrored and turned.

    Args:
        size: side of the result in pixels.
        scale: least and largest share of the area that a crop takes.
        ratio: least and largest width over height of a crop.
        flip: probability of mirroring left to right; 0 for characters.
        rotation: largest angle in degrees, either way.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.35, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        rotation: float = 0.0,
    ) -> None:
        super().__init__()
        steps: list[nn.Module] = [v2.RandomResizedCrop(size, scale=scale, ratio=ratio, antialias=True)]
        if flip:
            steps.append(v2.RandomHorizontalFlip(flip))
        if rotation:
            steps.append(v2.RandomRotation(rotation, v2.InterpolationMode.BILINEAR))
        self.steps = nn.Sequential(*steps)

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
