"""What every format offers, and the way from a short name to a format."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Literal

from torch import Tensor

from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.parts import Part

Runner = Callable[[Tensor], Tensor]  # images, uint8 (B, 3, H, W) -> probabilities or values (B, K)
ShortName = Literal["onnx", "torch", "timm", "int8", "openvino", "openvino_int8"]


class ExportFormat(Part, ABC):
    """Writes a model for others to run.

    Attributes:
        suffix: how the file's name ends; empty for a folder.
        tolerance: what is accepted as the same, as a share of how much the images' probabilities vary.
        on_average: whether the images' mean difference must be so small, or the largest: where arithmetic is another than torch's, two
            classes that are nearly alike can change places.
        training_images: how many it wants to see before it writes.
    """

    suffix: str
    tolerance: float = 0.02
    on_average: bool = False
    training_images: int = 0

    def see(self, images: Sequence[Tensor]) -> None:  # most formats need none
        """Look at images of the training split, each uint8 (3, H, W)."""

    @abstractmethod
    def write(self, model: Deployed, path: Path) -> None:
        """Write the model to a path where nothing is yet."""

    @abstractmethod
    def load(self, path: Path) -> Runner:
        """Run what was written, as a user of the file would, without this package."""


def as_format(format: ShortName | ExportFormat) -> ExportFormat:  # noqa: A002  # what everybody calls it
    """Make a format, with its defaults, of its short name: that of the file it is written in."""
    if isinstance(format, ExportFormat):
        return format
    name = "".join(part.capitalize() for part in format.split("_"))
    made: ExportFormat = getattr(import_module(f"{__package__}.{format}"), f"{name}Export")()
    return made
