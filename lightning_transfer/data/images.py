"""Image files to pixels: every common format comes out as 8-bit RGB, the right way up."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


def decode(path: str | Path) -> Tensor:
    """Read an image file as uint8 (3, H, W).

    Transparency lies on white, 16 bits are scaled to 8, the EXIF orientation is applied, of an animation the first frame is taken.

    Args:
        path: file.

    Raises:
        ValueError: naming the file, if it is truncated or no image.
    """
    try:
        with Image.open(path) as image:
            return to_tensor(image)
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).split(str(path))[0].strip(" '\"") or "not an image"
        raise ValueError(f"{path} cannot be read as an image: {reason}") from error


def to_tensor(image: Image.Image) -> Tensor:
    """Turn a Pillow image of any mode into uint8 (3, H, W)."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, whatever Pillow calls them; its own convert("L") would clip at 255
        pixels = (np.asarray(image).astype(np.int64).clip(0, 65535) + 128) // 257
        image = Image.fromarray(pixels.astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def image_files(folder: Path) -> list[Path]:
    """All image files below a folder, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
