"""What happens to images as files: contrast, colour, warping, pixels, JPEG."""

from io import BytesIO

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torchvision.transforms.v2.functional import to_dtype, to_pil_image

from lightning_transfer.data.corruptions.blur import gaussian_filter
from lightning_transfer.data.corruptions.noise import Table
from lightning_transfer.data.images import to_tensor


def contrast(image: Tensor, share: float) -> Tensor:
    """Keep a share of the distance to each channel's mean."""
    mean = image.mean(dim=(1, 2), keepdim=True)
    return mean + share * (image - mean)


def saturate(image: Tensor, factor_and_offset: tuple[float, float]) -> Tensor:
    """Change the saturation of hue, saturation and value; grey counts as red, as it does there."""
    factor, offset = factor_and_offset
    value = image.amax(dim=0, keepdim=True)
    chroma = value - image.amin(dim=0, keepdim=True)
    saturation = (factor * chroma / value.clamp(min=1e-12) + offset).clamp(0, 1)
    red = image.new_tensor([0.0, 1.0, 1.0]).view(3, 1, 1)
    depth = torch.where(
        chroma > 0, (value - image) / chroma.clamp(min=1e-12), red
    )  # 0 in the strongest channel, 1 in the weakest
    return value * (1 - saturation * depth)


def elastic_transform(image: Tensor, constant: tuple[float, float, float]) -> Tensor:
    """Shear by a random affine map, then warp by smooth random displacements.

    Args:
        image: (3, H, W).
        constant: height of the displacements before smoothing, deviation of the Gaussian that smooths them, and the largest shift of a
            corner by the affine map; all as shares of the side, once that is 244 for 224 as in the original.
    """
    height, width = image.shape[-2:]
    side = min(height, width)
    strength, sigma, shift = (share * side * 244 / 224 for share in constant)
    # three points of the middle, in units where the image is [-1, 1]², and where they go
    points = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    points[:, :2] *= 2 / 3
    pixel = 2 / torch.tensor([width, height])
    moved = points.clone()
    moved[:, :2] += torch.empty(3, 2).uniform_(-1, 1) * shift * pixel
    affine = torch.linalg.solve(moved, points[:, :2]).T  # from where they go to where they come from
    sheared = _sample(image, affine_grid(affine[None], [1, 3, height, width], align_corners=False))
    noise = torch.empty(2, height, width).uniform_(-1, 1)
    # in pixels; smoothing over sigma pixels leaves 1 / sigma of the noise, so that strength alone would not grow with the image
    displacement = gaussian_filter(noise, sigma, "reflect", truncate=3) * strength * side / 224
    still = affine_grid(torch.eye(2, 3)[None], [1, 3, height, width], align_corners=False)
    return _sample(sheared, still + displacement.permute(1, 2, 0) * pixel)


def _sample(image: Tensor, grid: Tensor) -> Tensor:
    """Read (3, H, W) between its pixels; beyond its border it is mirrored."""
    return grid_sample(image[None], grid.to(image), mode="bilinear", padding_mode="reflection", align_corners=False)[0]


def pixelate(image: Tensor, share: float) -> Tensor:
    """Shrink the image to a share of its side by the mean of each block, and enlarge the pixels again."""
    height, width = image.shape[-2:]
    return _blocks(height, share) @ image @ _blocks(width, share).T


def _blocks(size: int, share: float) -> Tensor:
    """The matrix (size, size) that puts in each place of a row the mean of its block."""
    block = ((torch.arange(size) + 0.5) * max(1, int(size * share)) / size).floor()
    same = (block[:, None] == block).float()
    return same / same.sum(dim=1)


def jpeg_compression(image: Tensor, quality: int) -> Tensor:
    """Save as JPEG of a quality, and read again, both by Pillow as the original does; torchvision gives up its codecs."""
    file = BytesIO()
    to_pil_image(to_dtype(image, torch.uint8, scale=True)).save(file, "JPEG", quality=quality)
    result: Tensor = to_dtype(to_tensor(Image.open(file)), torch.float32, scale=True)
    return result


DIGITAL: Table = {
    "contrast": (contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": (
        elastic_transform,
        ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
    ),
    "pixelate": (pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": (jpeg_compression, (25, 18, 15, 10, 7)),
    "saturate": (saturate, ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))),
}
