"""Exports: each writes a `Deployed` model as a file or folder that others can run, and runs what it wrote."""

from lightning_transfer.exports.base import ExportFormat, as_format
from lightning_transfer.exports.compare import Comparison, compare
from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.exports.int8 import Int8Export
from lightning_transfer.exports.integer import IntegerExport
from lightning_transfer.exports.onnx import OnnxExport
from lightning_transfer.exports.openvino import OpenvinoExport
from lightning_transfer.exports.openvino_int8 import OpenvinoInt8Export
from lightning_transfer.exports.timm import TimmExport
from lightning_transfer.exports.torch import TorchExport
from lightning_transfer.exports.write import write_checked

__all__ = [
    "Comparison",
    "Deployed",
    "ExportFormat",
    "Int8Export",
    "IntegerExport",
    "OnnxExport",
    "OpenvinoExport",
    "OpenvinoInt8Export",
    "TimmExport",
    "TorchExport",
    "as_format",
    "compare",
    "write_checked",
]
