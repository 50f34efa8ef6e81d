"""A checkpoint of this package as a teacher."""

from pathlib import Path
from typing import Any

from torch import nn

from lightning_transfer import hashes
from lightning_transfer.teachers.base import Teacher


class CheckpointTeacher(Teacher):
    """The model of a checkpoint that `fit` wrote, with its normalisation and its classes' names.

    Args:
        path: the file.
        sha256: of the file, in hexadecimal digits; a student's checkpoint records it, and whoever trains on with another file is told.

    Raises:
        FileNotFoundError, ValueError: at `load`, for a file that is missing, torn or hostile, that is another than recorded, or whose
            model tells no classes.
    """

    def __init__(self, path: str | Path, sha256: str | None = None) -> None:
        self.path = str(path)
        self.sha256 = sha256

    def build(self) -> nn.Module:
        from lightning_transfer.modules.base import TransferModule  # which knows of distillation, and so of teachers

        try:
            module: Any = TransferModule.load_from_checkpoint(self.path, map_location="cpu")
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f"teacher: {error}") from error
        if module.textual:
            raise ValueError(
                f"teacher: {self.path!r} holds a {type(module).__name__}, which reads texts; a teacher sees images"
            )
        if module.task != "classification":
            raise ValueError(f"teacher: {self.path!r} was trained with task={module.task}; distillation wants classes")
        self.fingerprint()
        self.class_names = module.class_names
        module.setup("predict")  # lays out the weights
        model: nn.Module = module.model
        return model

    def fingerprint(self) -> str:
        """Hash the file, which need not be loaded for that.

        Raises:
            FileNotFoundError, ValueError: for a file that is missing, or another than recorded.
        """
        if not Path(self.path).is_file():
            raise FileNotFoundError(f"teacher: {self.path!r} is no file")
        found = hashes.of_file(Path(self.path))
        if self.sha256 not in (None, found):
            raise ValueError(
                f"teacher: {self.path!r} is another file than the student learned from before (sha256 {found[:12]}..., recorded "
                f"{str(self.sha256)[:12]}...); bring that one, or leave sha256 out to go on with this"
            )
        self.sha256 = self.init_args["sha256"] = found
        return found
