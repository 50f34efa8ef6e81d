"""A file that torch alone can run."""

import json
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from lightning_transfer.exports.base import ExportFormat, Runner
from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.exports.quantised import in_constants, is_quantised


class TorchExport(ExportFormat):
    """`torch.export`: a graph with its weights, `torch.export.load(path).module()` runs it; the metadata are in `metadata.json`.

    Args:
        dynamic_batch: whether the file takes batches of any size, or one image at a time.
    """

    suffix = ".pt2"

    def __init__(self, dynamic_batch: bool = True) -> None:
        self.dynamic_batch = dynamic_batch

    def write(self, model: Deployed, path: Path) -> None:
        program = trace(in_constants(model) if is_quantised(model) else model, self.dynamic_batch)
        torch.export.save(program, path, extra_files={"metadata.json": json.dumps(model.metadata())})

    def load(self, path: Path) -> Runner:
        run: Runner = torch.export.load(path).module()
        return run


def trace(model: Deployed, dynamic_batch: bool) -> ExportedProgram:
    """Follow the model through one batch, with the images' height and width left open.

    Args:
        model: what to trace.
        dynamic_batch: whether the number of images is left open too.

    Raises:
        ValueError: for a model whose steps depend on the values of its images, or on the length of a batch.
    """
    # torch takes a length of 1 for a constant, and equal lengths for one: hence two images that are not square
    image = torch.zeros(2 if dynamic_batch else 1, 3, 97, 131, dtype=torch.uint8)
    shape = {2: Dim("height", min=2), 3: Dim("width", min=2)}
    if dynamic_batch:
        shape[0] = Dim("batch", min=1)
    try:
        with torch.no_grad():
            return torch.export.export(model, (image,), dynamic_shapes=(shape,), strict=False)
    except Exception as error:  # torch raises a dozen types here
        raise ValueError(
            f"torch.export cannot follow {type(model.model).__name__}: {first_line(error)}; with a timm backbone format=timm "
            "can write it"
        ) from error


def first_line(error: Exception) -> str:
    """What an error of torch's says before it goes into detail."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
