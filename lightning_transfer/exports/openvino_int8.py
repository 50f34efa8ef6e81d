"""A folder for OpenVINO whose convolutions and products are those of 8-bit integers."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.exports.integer import IntegerExport
from lightning_transfer.exports.openvino import OpenvinoExport, read, save
from lightning_transfer.extras import load_extra


class OpenvinoInt8Export(IntegerExport):
    """OpenVINO's intermediate representation with static 8-bit quantisation by NNCF, which also corrects biases.

    What holds for ranges and processors is said at `IntegerExport`; the folder is that of `OpenvinoExport` otherwise.

    Args:
        images: of the training split, by which ranges are found, at least 1.
        reduce_range: whether weights have 7 bits; where the processor lacks VNNI if not given.
        dynamic_batch: whether the model takes batches of any size, or one image at a time.

    Raises:
        ModuleNotFoundError: without openvino, nncf, onnx, onnxscript and onnxruntime.
        ValueError: for values out of range, without images, or for a model that ONNX cannot hold.
    """

    suffix = ""
    runtime = "openvino"

    def __init__(self, images: int = 128, reduce_range: bool | None = None, dynamic_batch: bool = True) -> None:
        super().__init__(images, reduce_range, dynamic_batch)
        self.plain = OpenvinoExport(dynamic_batch)
        _nncf()  # fail before the work, not after it

    def calibrate(self, model: Deployed, plain: Path, path: Path, images: Sequence[Tensor]) -> None:
        nncf = _nncf()
        fix = nncf.OverflowFix.ENABLE if self.reduce_range else nncf.OverflowFix.DISABLE
        shown = nncf.Dataset(images, lambda image: {"image": image.unsqueeze(0).numpy()})
        quantised = nncf.quantize(
            read(plain), shown, subset_size=len(images),
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=fix),
        )  # fmt: skip
        save(quantised, model, path)


def _nncf() -> Any:
    os.environ.setdefault("NNCF_CI", "1")  # or it reports over the network that it was called
    nncf = load_extra("openvino", "format=openvino_int8 needs nncf and openvino", "nncf")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
