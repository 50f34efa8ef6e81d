"""A file for ONNX Runtime whose convolutions and products are those of 8-bit integers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.exports.integer import IntegerExport
from lightning_transfer.exports.onnx import OnnxExport, metadata_of

# ReLUs too: a convolution then rounds what they leave of its output
_COMPUTED = ["Conv", "Gemm", "MatMul", "Relu", "Clip"]


class Int8Export(IntegerExport):
    """ONNX with static 8-bit quantisation: unsigned activations, signed weights with a scale for each output channel.

    What holds for ranges and processors is said at `IntegerExport`; the file is that of `OnnxExport` otherwise. A session whose option
    `session.x64quantprecision` is 1 computes weights of 8 bits without overflow where VNNI is lacking, and takes longer.

    Args:
        images: of the training split, by which ranges are found, at least 1.
        reduce_range: whether weights have 7 bits; where the processor lacks VNNI if not given.
        dynamic_batch: whether the file takes batches of any size, or one image at a time.

    Raises:
        ModuleNotFoundError: without onnx, onnxscript and onnxruntime.
        ValueError: for values out of range, without images, or for a model that ONNX cannot hold.

    Reference:
        Jacob, Kligys, Chen, Zhu, Tang, Howard, Adam, Kalenichenko, "Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference", CVPR 2018; the kernels are ONNX Runtime's.
    """

    suffix = ".onnx"
    runtime = "onnxruntime"

    def __init__(self, images: int = 128, reduce_range: bool | None = None, dynamic_batch: bool = True) -> None:
        super().__init__(images, reduce_range, dynamic_batch)
        self.plain = OnnxExport(dynamic_batch)

    def calibrate(self, model: Deployed, plain: Path, path: Path, images: Sequence[Tensor]) -> None:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        with TemporaryDirectory() as folder:
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(plain, prepared, skip_symbolic_shape=True)  # folds norms into convolutions
            quantize_static(
                prepared, path, _Reader(images), QuantFormat.QDQ, _COMPUTED, per_channel=True,
                reduce_range=self.reduce_range, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
        metadata_of(path, model)


class _Reader:
    """Hands images to ONNX Runtime, one at a time, since they differ in size."""

    def __init__(self, images: Sequence[Tensor]) -> None:
        self.images: Iterator[Tensor] = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        """An image as the graph's input, or none when there are no more."""
        image = next(self.images, None)
        return None if image is None else {"image": image.unsqueeze(0).numpy()}
