"""Image files to pixels: every common format comes out as 8-bit RGB, the right way up."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


def decode(path: str | Path) -> Tensor:
    """Read an image file as uint8 (3, H, W).

    Transparency lies on white, 16 bits are scaled to 8, EXIF orientation is applied; an animation gives frame one.

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
    except Exception as error:  # Pillow's readers raise a dozen types for broken files
        reason = str(error).split(str(path))[0].strip(" '\"") or "not an image"
        raise ValueError(f"{path} cannot be read as an image: {reason}") from error


def to_tensor(image: Image.Image) -> Tensor:
    """Turn a Pillow image of any mode into uint8 (3, H, W), colours of a pixel side by side in memory."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, whatever Pillow calls them; its own convert("L") would clip at 255
        pixels = (np.asarray(image).astype(np.int64).clip(0, 65535) + 128) // 257
        image = Image.fromarray(pixels.astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range; save it with 8 or 16 bits")
    elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image.getchannel("A"))  # as Image.alpha_composite, in two thirds of the time
        image = ground
    image = image if image.mode == "RGB" else image.convert("RGB")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)  # resizing is fastest on colours as they lie in the file


def image_files(folder: Path) -> list[Path]:
    """All image files below a folder, sorted; hidden files and folders are passed over."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
