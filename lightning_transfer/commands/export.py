"""`export`: a checkpoint as a file that others can run."""

from pathlib import Path

from lightning_transfer.data.base import ImageData
from lightning_transfer.exports import ExportFormat, IntegerExport, as_format, write_checked
from lightning_transfer.exports.base import ShortName
from lightning_transfer.exports.checkpoint import labelled_test_images, open_checkpoint, training_images
from lightning_transfer.reports.deployment import measured, show, size_of


def export(
    ckpt_path: str,
    format: ShortName | ExportFormat,  # noqa: A002  # what everybody calls it
    out: str,
    images: str | None = None,
    num_images: int = 32,
    tolerance: float | None = None,
    judged_on: int = 1000,
    rounds: int = 15,
    data: ImageData | None = None,
) -> None:
    """Write a checkpoint in another format, after comparing the two on images.

    Of integers it also says what they cost and bring: bytes, time beside eager torch and beside the same runtime with floating-point
    numbers, taken in turn, and metrics on the test split with intervals, beside the checkpoint's.

    Args:
        ckpt_path: checkpoint written by `fit`.
        format: `onnx`, `torch` and `openvino` take uint8 images of any size and give probabilities; `int8` is an ONNX file that computes
            with 8-bit integers, `openvino_int8` the same for OpenVINO; `timm` is a folder for `timm.create_model`. Or a class, for its
            options: `OnnxExport`.
        out: file that ends in .onnx or .pt2, or for timm and OpenVINO a folder.
        images: a folder of images to compare on; those of the checkpoint's test split if not given.
        num_images: how many images are compared, at least 1.
        tolerance: largest difference of a probability that is accepted, as a share of how much the images' probabilities vary; 0.02 if
            not given, 0.2 for integers, 0.05 for networks trained with `FakeQuantise`. Of these and of OpenVINO it is the images' mean
            difference.
        judged_on: how many test images integers are judged on at most; with 0 none are, and their metrics are not told.
        rounds: in which integers are timed, at least 1.
        data: how images are prepared, for a checkpoint that does not say it.
    """
    if judged_on < 0 or rounds < 1:
        raise ValueError(f"judged_on={judged_on} must not be negative, and rounds={rounds} at least 1")
    form = as_format(format)
    model, compared = open_checkpoint(ckpt_path, images, num_images, data)
    if form.training_images:
        form.see(training_images(ckpt_path, form.training_images, data))
    comparison = write_checked(form, model, Path(out), compared, tolerance)
    print(f"{out}: {size_of(Path(out)) / 1e6:.1f} MB; {comparison}")
    if isinstance(form, IntegerExport):
        test = labelled_test_images(ckpt_path, judged_on, data) if judged_on else None
        show(measured(form, model, Path(out), compared[0], test, rounds), f"{out}, timed in {rounds} rounds")
