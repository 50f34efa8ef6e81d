"""`export`: a checkpoint as a file that others can run."""

from pathlib import Path

from lightning_transfer.data.base import ImageData
from lightning_transfer.exports import ExportFormat, Int8Export, as_format, write_checked
from lightning_transfer.exports.base import ShortName
from lightning_transfer.exports.checkpoint import open_checkpoint, training_images
from lightning_transfer.exports.int8 import ratios


def export(
    ckpt_path: str,
    format: ShortName | ExportFormat,  # noqa: A002  # what everybody calls it
    out: str,
    images: str | None = None,
    num_images: int = 32,
    tolerance: float | None = None,
    data: ImageData | None = None,
) -> None:
    """Write a checkpoint in another format, after comparing the two on images.

    Args:
        ckpt_path: checkpoint written by `fit`.
        format: `onnx` and `torch` take uint8 images of any size and give probabilities; `int8` is an ONNX file that computes with 8-bit
            integers, and is timed beside the others; `timm` is a folder for `timm.create_model`. Or a class, for its options:
            `OnnxExport`.
        out: file that ends in .onnx or .pt2, or for timm a folder.
        images: a folder of images to compare on; those of the checkpoint's test split if not given.
        num_images: how many images are compared, at least 1.
        tolerance: largest difference of a probability that is accepted, as a share of how much the images' probabilities vary; 0.02 if
            not given, 0.2 for int8.
        data: how images are prepared, for a checkpoint that does not say it.
    """
    form = as_format(format)
    model, compared = open_checkpoint(ckpt_path, images, num_images, data)
    if form.training_images:
        form.see(training_images(ckpt_path, form.training_images, data))
    comparison = write_checked(form, model, Path(out), compared, tolerance)
    print(f"{out}: {_size(Path(out)) / 1e6:.1f} MB; {comparison}")
    if isinstance(form, Int8Export):
        print(ratios(form.speed(model, Path(out), compared[0].unsqueeze(0))))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
