"""A folder for OpenVINO."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from lightning_transfer.exports.base import ExportFormat, Runner
from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.exports.onnx import OnnxExport
from lightning_transfer.extras import load_extra

_FILE = "model.xml"


class OpenvinoExport(ExportFormat):
    """OpenVINO's intermediate representation: `model.xml` with the graph and `model.bin` with the weights, float32.

    Input `image`, output `probability` (or `value`); the metadata as JSON at `lightning_transfer` in the model's runtime information. It
    is compared and timed at float32 throughout; by itself OpenVINO takes bfloat16 where the processor has it, unless
    `INFERENCE_PRECISION_HINT` says f32.

    Args:
        dynamic_batch: whether the model takes batches of any size, or one image at a time.

    Deviation:
        OpenVINO's resize rounds in its own way: up to one value in a hundred differs by one level of 255 from torchvision's, so that the
        comparison goes by the images' mean difference.

    Raises:
        ModuleNotFoundError: without openvino, onnx, onnxscript and onnxruntime.
        ValueError: for a model that ONNX cannot hold, by which it goes.
    """

    suffix = ""
    on_average = True

    def __init__(self, dynamic_batch: bool = True) -> None:
        self.dynamic_batch = dynamic_batch
        self.onnx = OnnxExport(dynamic_batch)
        openvino()  # fail before the work, not after it

    def write(self, model: Deployed, path: Path) -> None:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            self.onnx.write(model, file)
            network = openvino().Core().read_model(file)  # unlike convert_model it tells nobody that it was called
            _antialias(network)
            save(network, model, path)

    def load(self, path: Path, threads: int = 0) -> Runner:
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}  # or some processors compute in bfloat16
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        compiled = openvino().compile_model(read(path), "CPU", options)

        def run(image: Tensor) -> Tensor:
            return torch.from_numpy(compiled({"image": image.numpy()})[0].copy())

        return run


def read(path: Path) -> Any:
    """A model of OpenVINO's, from its folder."""
    return openvino().Core().read_model(path / _FILE)


def save(network: Any, model: Deployed, path: Path) -> None:
    """Write a model of OpenVINO's into a folder, with what a user must know of it."""
    network.set_rt_info(json.dumps(model.metadata()), "lightning_transfer")
    path.mkdir(parents=True, exist_ok=True)
    openvino().save_model(network, path / _FILE, compress_to_fp16=False)


def _antialias(network: Any) -> None:
    """Let images shrink as Pillow shrinks them: on the CPU the operator that stands for ONNX's skips pixels, though told not to."""
    from openvino import opset11

    for node in network.get_ops():
        if node.get_type_name() == "Interpolate" and node.get_attributes()["antialias"]:
            axes = opset11.constant([2, 3])
            sides = opset11.gather(node.input_value(1), axes, opset11.constant(0))
            resized = opset11.interpolate(node.input_value(0), sides, "bilinear_pillow", "sizes", axes=axes)
            node.output(0).replace(resized.output(0))
    network.validate_nodes_and_infer_types()


def openvino() -> Any:
    """The package.

    Raises:
        ModuleNotFoundError: saying how to get it.
    """
    return load_extra("openvino", "format=openvino needs openvino, onnx and onnxscript", "openvino")
