"""A file for ONNX Runtime, and through it for most other runtimes."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_transfer.exports.base import ExportFormat, Runner
from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.exports.quantised import in_integers, is_quantised
from lightning_transfer.exports.torch import first_line, trace
from lightning_transfer.extras import load_extra


class OnnxExport(ExportFormat):
    """ONNX: one file with input `image`, output `probability` (or `value`), and the metadata as JSON in its `metadata_props`.

    A network trained with `FakeQuantise` is written with integers, and nodes that say which numbers they stand for.

    Args:
        dynamic_batch: whether the file takes batches of any size, or one image at a time.

    Deviation:
        ONNX Runtime's antialiased resize rounds in its own way: where images shrink, one value in a thousand differs by one
        level of 255 from torchvision's (measured on 238 images); where they grow, none does.

    Raises:
        ModuleNotFoundError: without onnx, onnxscript and onnxruntime.
        ValueError: for a model that torch.export cannot follow, or with an operation that ONNX has not.
    """

    suffix = ".onnx"

    def __init__(self, dynamic_batch: bool = True) -> None:
        self.dynamic_batch = dynamic_batch
        _onnxruntime()  # fail before the work, not after it

    def write(self, model: Deployed, path: Path) -> None:
        traced = trace(in_integers(model) if is_quantised(model) else model, self.dynamic_batch)
        names: dict[str, Any] = {"input_names": ["image"], "output_names": [model.output]}
        try:
            program: Any = torch.onnx.export(traced, dynamo=True, external_data=False, verbose=False, **names)
        except torch.onnx.OnnxExporterError as error:
            raise ValueError(
                f"torch.onnx cannot write {type(model.model).__name__}: {first_line(error)}; format=torch can"
            ) from error
        for node in program.model.graph:
            node.metadata_props.clear()  # lines of torch's and timm's code
        program.model.metadata_props.update({name: json.dumps(value) for name, value in model.metadata().items()})
        program.save(path)

    def load(self, path: Path, threads: int = 0) -> Runner:
        loaded = session(str(path), threads)

        def run(image: Tensor) -> Tensor:
            return torch.from_numpy(loaded.run(None, {"image": image.numpy()})[0])

        return run


def session(model: str | bytes, threads: int = 0) -> Any:
    """ONNX Runtime's on the CPU, of a file's path or content; with as many threads as it likes if none are given."""
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def metadata_of(path: Path, model: Deployed) -> None:
    """Write a model's metadata into a file that has lost them."""
    import onnx

    written = onnx.load(path)
    del written.metadata_props[:]
    onnx.helper.set_model_props(written, {name: json.dumps(value) for name, value in model.metadata().items()})
    onnx.save(written, path)


def _onnxruntime() -> Any:
    reason = "format=onnx needs onnx, onnxscript and onnxruntime"
    return load_extra("export", reason, "onnxruntime", "onnx", "onnxscript")  # torch's exporter needs the last two
