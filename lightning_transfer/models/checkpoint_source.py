"""A checkpoint of this package as a source."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from lightning_transfer import hashes
from lightning_transfer.checkpoint import expects_checkpoint, read_checkpoint, rebuild
from lightning_transfer.contracts import Prediction
from lightning_transfer.models.source import Source

if TYPE_CHECKING:
    from lightning_transfer.modules import TransferModule


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
        try:
            with isolate_rng():  # what a training draws does not depend on how its source is built
                module = rebuild(json.loads(arguments)) if arguments and expects_checkpoint() else _read(path)
            if not expects_checkpoint() or arguments is None:
                sha256, arguments = _recorded(Path(path), sha256)
        except (FileNotFoundError, ValueError) as error:
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
            raise kind(f"source: {error}") from error
        if module.task != "classification":
            raise ValueError(f"source: {str(path)!r} was trained with task={module.task}; a prompt wants classes")
        self.init_args = {"path": str(path), "sha256": sha256, "arguments": arguments}
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


def _read(path: str | Path) -> "TransferModule":
    from lightning_transfer.modules.base import TransferModule  # which knows of models

    module: TransferModule = TransferModule.load_from_checkpoint(path, map_location="cpu")
    return module


def _recorded(path: Path, sha256: str | None) -> tuple[str, str]:
    """Hash of the file, and the arguments in it."""
    found = hashes.of_file(path)
    if sha256 not in (None, found):
        raise ValueError(
            f"{str(path)!r} is another file than was trained on before (sha256 {found[:12]}..., recorded {str(sha256)[:12]}...); "
            "bring that one, or leave sha256 out to go on with this"
        )
    return found, json.dumps(dict(read_checkpoint(path)["hyper_parameters"]))
