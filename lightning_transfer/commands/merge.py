"""From an adapted model to an ordinary one."""

from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from lightning_transfer.checkpoint import import_class, read_checkpoint, write_changed
from lightning_transfer.contracts import Insertion
from lightning_transfer.language.kept import leave_out_frozen
from lightning_transfer.modules import TransferModule


def merge(ckpt_path: str, out: str) -> None:
    """Fold the layers that edits inserted into the weights, and write a checkpoint without them.

    It computes the same, loads without PEFT and can be trained further from a new start; its optimiser's state is not kept.

    Args:
        ckpt_path: checkpoint of a model with a LoRA.
        out: checkpoint to write.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if there is nothing to fold, or it cannot be folded (Adapter).
    """
    checkpoint = read_checkpoint(ckpt_path)
    module = TransferModule.load_from_checkpoint(ckpt_path, map_location="cpu")
    hparams = dict(checkpoint["hyper_parameters"])
    edits = hparams.get("edits") or []
    classes = [import_class(edit["class_path"]) for edit in edits]
    inserted = dict.fromkeys(cls for cls in classes if issubclass(cls, Insertion))
    if not inserted:
        named = ", ".join(cls.__name__ for cls in classes) or "none"
        raise ValueError(f"ckpt_path={ckpt_path!r} holds nothing to merge: its edits ({named}) insert no layers")
    for cls in inserted:
        cls.fold(module.model)
    hparams["edits"] = [
        left for edit, cls in zip(edits, classes, strict=True) if (left := _left(edit, cls)) is not None
    ]
    merged = {"hyper_parameters": hparams, "state_dict": module.state_dict()}
    leave_out_frozen(merged, module)
    write_changed({k: v for k, v in checkpoint.items() if k != "left_out"}, Path(out), **merged)
    rank_zero_info(f"merged; next: lightning-transfer test --ckpt_path {out}")


def _left(edit: dict[str, Any], cls: type) -> dict[str, Any] | None:
    """What stands in the place of an edit after folding: itself, if it inserts nothing."""
    if not issubclass(cls, Insertion):
        return edit
    left = cls.left(dict(edit.get("init_args") or {}))
    return (
        None if left is None else {"class_path": f"{left[0].__module__}.{left[0].__qualname__}", "init_args": left[1]}
    )
