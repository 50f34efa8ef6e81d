"""A checkpoint of this package as a source."""

from pathlib import Path
from typing import Any

from torch import Tensor

from lightning_transfer.contracts import Prediction
from lightning_transfer.models.recorded import open_recorded
from lightning_transfer.models.source import Source


class CheckpointSource(Source):
    """The model of a checkpoint that `fit` wrote, with its normalisation and its classes.

    Args:
        path: the file.
        sha256: of the file, in hexadecimal digits; recorded, so that whoever trains on with another file is told.
        arguments: of the module in the file, as JSON; recorded, so that a checkpoint that holds the weights needs the file no more.

    Raises:
        FileNotFoundError, ValueError: for a file that is missing, torn or hostile, that is another than recorded, or whose model tells
            no classes.
    """

    def __init__(self, path: str | Path, sha256: str | None = None, arguments: str | None = None) -> None:
        super().__init__()
        module, self.init_args = open_recorded("source", path, sha256, arguments)
        if module.task != "classification":
            raise ValueError(f"source: {str(path)!r} was trained with task={module.task}; a prompt wants classes")
        self.network = module.model
        self.num_classes = module.num_classes
        self.class_names = module.class_names

    @property
    def _backbone(self) -> Any:
        return getattr(self.network, "backbone", None)

    def forward(self, image: Tensor) -> Prediction:
        prediction: Prediction = self.network(image)
        return prediction

    def statistics(self) -> tuple[Tensor, Tensor] | None:
        found = getattr(self._backbone, "mean", None), getattr(self._backbone, "std", None)
        return found if isinstance(found[0], Tensor) and isinstance(found[1], Tensor) else None  # type: ignore[return-value]

    def set_image_size(self, image_size: int) -> None:
        if hasattr(self._backbone, "set_image_size"):
            self._backbone.set_image_size(image_size)
