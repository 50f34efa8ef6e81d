"""A module out of a checkpoint's file, or out of what was recorded of it once its weights lie elsewhere."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities.seed import isolate_rng

from lightning_transfer import hashes
from lightning_transfer.checkpoint import expects_checkpoint, read_checkpoint, rebuild

if TYPE_CHECKING:
    from lightning_transfer.modules import TransferModule


def open_recorded(
    argument: str, path: str | Path, sha256: str | None, arguments: str | None
) -> tuple["TransferModule", dict[str, Any]]:
    """Build the module of a checkpoint that a part of another module is made of.

    Args:
        argument: what the file was given as, for the error.
        path: the file.
        sha256: of the file, where it was read before.
        arguments: of the module in the file, as JSON, where it was read before.

    Returns:
        the module, and these three to be recorded: a checkpoint that holds the weights so needs the file no more

    Raises:
        FileNotFoundError, ValueError: for a file that is missing, torn or hostile, or another than was read before.
    """
    try:
        with isolate_rng():  # what a training draws does not depend on how its parts are built
            module = rebuild(json.loads(arguments)) if arguments and expects_checkpoint() else _read(path)
        if not expects_checkpoint() or arguments is None:
            sha256, arguments = _recorded(Path(path), sha256)
    except (FileNotFoundError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"{argument}: {error}") from error
    return module, {"path": str(path), "sha256": sha256, "arguments": arguments}


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
