"""The image made smaller, with a learned border around it."""

from typing import Any, Literal, get_args

from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from lightning_transfer.prompts.base import PixelPrompt, border, centred

Interpolation = Literal["bilinear", "bicubic"]


class ShrinkPrompt(PixelPrompt):
    """The whole image, resized to a square of `side`, in a border of 3·(canvas² - side²) values: nothing of it is covered.

    Args:
        side: of the image within, in pixels; as large as it comes if not given.
        canvas: side of the result in pixels; that of the image as it comes if not given.
        interpolation: how the image is resized, with antialiasing; bicubic values are cut to [0, 1].
        kwargs: as for `PixelPrompt`.

    Shape:
        (B, 3, W, W) → (B, 3, canvas, canvas)

    Raises:
        ValueError: for another interpolation; at `build` for an image that leaves no border.

    Reference:
        Chen, Yao, Chen, Zhang, Liu, "Understanding and Improving Visual Prompting: A Label-Mapping Perspective", CVPR 2023 (ILM-VP):
        `clamp=sigmoid`, the image as it comes, Adam at 0.01;
        Wu, Li, Wei, Wang, Yuille, Zhou, Xie, "Unleashing the Power of Visual Prompting At the Pixel Level", TMLR 2024 (EVP): 164 of 224
        pixels, and steps of one length (`NormalisedSGD`).
    """

    def __init__(
        self,
        side: int | None = None,
        canvas: int | None = None,
        interpolation: Interpolation = "bilinear",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if interpolation not in get_args(Interpolation):
            raise ValueError(
                f"interpolation={interpolation!r} of ShrinkPrompt must be {' or '.join(get_args(Interpolation))}"
            )
        self.side, self.canvas, self.interpolation = side, canvas, interpolation

    def size_for(self, image_size: int) -> int:
        return self.canvas or image_size

    def region(self, size: int) -> Tensor:
        side = self.side or self.image_size
        if not 1 <= side < size:
            raise ValueError(
                f"side={side} of ShrinkPrompt must lie in 1 to {size - 1}, so that canvas={size} has a border; three quarters are common"
            )
        return border(side, size)

    def place(self, image: Tensor) -> Tensor:
        side = self.side or self.image_size
        if side != image.shape[-1]:
            image = resize(image, [side, side], InterpolationMode(self.interpolation), antialias=True).clamp(0, 1)
        before = centred(side, self.output_size).start
        after = self.output_size - side - before
        return pad(image, (before, after, before, after))
