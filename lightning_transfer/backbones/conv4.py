"""The small convolutional network that few-shot methods are compared on."""

from typing import Literal

import torch
from torch import Tensor, nn

from lightning_transfer.backbones.base import Backbone
from lightning_transfer.contracts import Features

_BLOCKS = 4  # each halves the side
_CHANNELS_A_GROUP = 8


class Conv4(Backbone):
    """Four blocks of convolution, norm, rectified units and pooling; the embedding is the last map laid flat.

    Args:
        width: channels of each block, a multiple of 8 for `norm=group`.
        norm: `batch`, as prototypical networks take it; or `group`, of 8 channels, which looks at one image alone: in an inner loop (MAML) a
            batch norm would see the queries beside one another.
        image_size: side of the images in pixels, ≥ 16.

    Shape:
        image (B, 3, image_size, image_size) in [0, 1] → embedding (B, width · ⌊image_size / 16⌋²), one map

    Raises:
        ValueError: for values out of range, and images of another size.

    Reference:
        Vinyals et al., "Matching Networks for One Shot Learning", NeurIPS 2016, section 4.1; Snell et al., "Prototypical Networks for
        Few-shot Learning", NeurIPS 2017, section 3.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int = 64, norm: Literal["batch", "group"] = "batch", image_size: int = 28) -> None:
        super().__init__()
        if norm not in ("batch", "group"):
            raise ValueError(f"norm={norm!r} of Conv4 must be batch or group")
        if width < 1 or (norm == "group" and width % _CHANNELS_A_GROUP):
            raise ValueError(
                f"width={width} of Conv4 must be at least 1, and a multiple of {_CHANNELS_A_GROUP} for norm=group"
            )
        self.width = width
        self.blocks = nn.Sequential(*[_block(before, width, norm) for before in (3, *[width] * (_BLOCKS - 1))])
        for statistic in ("mean", "std"):
            self.register_buffer(statistic, torch.full((3, 1, 1), 0.5), persistent=False)
        self.set_image_size(image_size)

    def set_image_size(self, image_size: int) -> None:
        side = image_size // 2**_BLOCKS
        if side < 1:
            raise ValueError(
                f"image_size={image_size} is halved {_BLOCKS} times by Conv4, which needs {2**_BLOCKS} pixels or more"
            )
        self.image_size = image_size
        self.num_features = self.width * side**2

    def forward(self, image: Tensor) -> Features:
        height, width = image.shape[-2:]
        if (height, width) != (self.image_size, self.image_size):
            raise ValueError(f"Conv4 has image_size={self.image_size}, but the images are {height}x{width}")
        last = self.blocks((image - self.mean) / self.std)
        return Features(last.flatten(1), (last,))

    def stages(self, coarse: bool = True) -> dict[str, int]:
        return {name: int(name.split(".")[1]) for name, _ in self.named_parameters()}


def _block(before: int, after: int, norm: str) -> nn.Sequential:
    layer = nn.BatchNorm2d(after) if norm == "batch" else nn.GroupNorm(after // _CHANNELS_A_GROUP, after)
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), layer, nn.ReLU(), nn.MaxPool2d(2))
