"""A file for ONNX Runtime whose convolutions and products are those of 8-bit integers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from lightning_transfer.compression.timing import Timing, time_beside
from lightning_transfer.exports.base import ExportFormat, Runner
from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.exports.onnx import OnnxExport, metadata_of, session

_COMPUTED = ["Conv", "Gemm", "MatMul"]
_CPU_FLAGS = Path("/proc/cpuinfo")


class Int8Export(ExportFormat):
    """ONNX with static 8-bit quantisation: unsigned activations, signed weights with a scale for each output channel.

    Ranges of the activations are those that training images reach; the file is that of `OnnxExport` otherwise. On processors without
    VNNI sums of 8-bit products overflow 16 bits, so that weights are kept to 7 bits there.

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
    tolerance = 0.2

    def __init__(self, images: int = 128, reduce_range: bool | None = None, dynamic_batch: bool = True) -> None:
        if images < 1:
            raise ValueError(f"images={images} of Int8Export must be at least 1; 128 is common")
        self.training_images = images
        self.reduce_range = lacks_vnni() if reduce_range is None else reduce_range
        self.plain = OnnxExport(dynamic_batch)
        self._seen: Sequence[Tensor] = ()
        self._float: bytes = b""

    def see(self, images: Sequence[Tensor]) -> None:
        self._seen = images

    def write(self, model: Deployed, path: Path) -> None:
        if not self._seen:
            raise ValueError(
                "format=int8 has no calibration images, by which it would find ranges; give data with a train split"
            )
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        with TemporaryDirectory() as folder:
            plain, prepared = Path(folder) / "plain.onnx", Path(folder) / "prepared.onnx"
            self.plain.write(model, plain)
            self._float = plain.read_bytes()
            quant_pre_process(plain, prepared, skip_symbolic_shape=True)  # folds norms into convolutions
            quantize_static(
                prepared, path, _Reader(self._seen), QuantFormat.QDQ, _COMPUTED, per_channel=True,
                reduce_range=self.reduce_range, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
        metadata_of(path, model)

    def load(self, path: Path) -> Runner:
        return self.plain.load(path)

    def speed(self, model: Deployed, path: Path, image: Tensor, rounds: int = 15) -> dict[str, Timing]:
        """Time eager torch, ONNX Runtime with floating-point numbers, and the file, side by side and with as many threads.

        Args:
            model: what was written.
            path: of the file.
            image: uint8 (B, 3, H, W).
            rounds: of each.
        """
        threads = torch.get_num_threads()
        runs = {"onnxruntime float32": session(self._float, threads), "onnxruntime int8": session(str(path), threads)}
        feed = {"image": image.numpy()}

        def eager() -> Tensor:
            with torch.inference_mode():
                found: Tensor = model(image)
            return found

        ways: dict[str, Any] = {"torch float32": eager}
        for name, run in runs.items():
            ways[name] = lambda run=run: run.run(None, feed)
        return time_beside(ways, rounds)


class _Reader:
    """Hands images to ONNX Runtime, one at a time, since they differ in size."""

    def __init__(self, images: Sequence[Tensor]) -> None:
        self.images: Iterator[Tensor] = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        """An image as the graph's input, or none when there are no more."""
        image = next(self.images, None)
        return None if image is None else {"image": image.unsqueeze(0).numpy()}


def lacks_vnni() -> bool:
    """Whether the processor is known to have no instruction for sums of 8-bit products."""
    flags = _CPU_FLAGS.read_text(encoding="utf-8") if _CPU_FLAGS.is_file() else ""
    return "flags" in flags and "vnni" not in flags


def ratios(timings: dict[str, Timing]) -> str:
    """How many times as fast the file is as each of the others, by medians of their ratios in the same round."""
    *others, own = timings
    first = timings[own].ratio[0]
    parts = [f"{first / timings[other].ratio[0]:.2f} times as fast as {other}" for other in others]
    return f"{timings[own].milliseconds:.2f} ms for one image: {', '.join(parts)}"
