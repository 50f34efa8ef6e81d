"""`apply_prompt`: images as a source sees them behind a learned prompt."""

from collections import Counter
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torchvision.transforms.v2.functional import to_dtype, to_pil_image

from lightning_transfer.adapter_file import load_adapter
from lightning_transfer.checkpoint import read_checkpoint
from lightning_transfer.data import EvalTransform, ImageData
from lightning_transfer.data.sources import unlabelled
from lightning_transfer.files import whole
from lightning_transfer.modules import TransferModule
from lightning_transfer.prompts import PixelPrompt


@torch.no_grad()
def apply_prompt(prompt: str, images: str, out: str, data: ImageData | None = None) -> None:
    """Write images with a prompt as PNG; whoever shows them to the source needs no prompt any more.

    Args:
        prompt: checkpoint of a `VisualPromptModule`, or the `.safetensors` file that `AdapterCheckpoint` wrote.
        images: a folder of images, or one file.
        out: folder to write to, in which the images keep their places and names.
        data: how images are prepared; as in the checkpoint if not given, and by `EvalTransform` where none says it.
    """
    pixels = _prompt(prompt)
    transform = _transform(prompt, data, pixels)
    source = unlabelled(Path(images), "images")
    root = Path(images) if Path(images).is_dir() else Path(images).parent
    paths = [Path(name).relative_to(root) for name in source.names]
    alike = Counter(path.with_suffix("") for path in paths)
    clipped = []
    for i, path in enumerate(paths):
        image = to_dtype(transform(source.image(i)), torch.float32, scale=True)
        prompted = pixels(image[None])[0]
        clipped.append(((prompted < 0) | (prompted > 1)).float().mean())
        # a.jpg and a.png of one folder must not become one file
        name = path.with_suffix(".png") if alike[path.with_suffix("")] == 1 else path.with_name(f"{path.name}.png")
        _write(prompted, Path(out) / name)
    share = torch.stack(clipped).mean().item()
    lost = f"; {share:.1%} of the values lay outside [0, 1] and were cut, which the source may notice" if share else ""
    rank_zero_info(f"{len(paths)} images are in {out}{lost}")


def _prompt(path: str) -> PixelPrompt:
    module = load_adapter(path) if path.endswith(".safetensors") else TransferModule.load_from_checkpoint(path, "cpu")
    found = getattr(module.model, "prompt", None)
    if not isinstance(found, PixelPrompt):
        raise ValueError(f"prompt={path!r} holds a {type(module).__name__} without a prompt of pixels")
    return found.eval()


def _transform(path: str, data: ImageData | None, prompt: PixelPrompt) -> nn.Module:
    if data is None and not path.endswith(".safetensors") and read_checkpoint(path).get("datamodule_hyper_parameters"):
        data = ImageData.load_from_checkpoint(path)
    if data is None:
        return EvalTransform(prompt.image_size)
    return data.eval_transform(prompt.image_size)


def _write(image: Tensor, path: Path) -> None:
    levels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    with whole(path) as partial:
        to_pil_image(levels).save(partial, format="PNG")
