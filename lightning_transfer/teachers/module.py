"""A network given in Python as a teacher."""

import hashlib
from typing import Any

import torch
from torch import nn

from lightning_transfer.teachers.base import Teacher


class ModuleTeacher(Teacher):
    """Any module, which is frozen as it stands: images in [0, 1], its own normalisation in front, to logits (B, K) or a `Prediction`.

    Args:
        module: the network; whoever loads a student's checkpoint to train on gives it again.
        class_names: of the logits, in their order.
        name: of the module's class, as recorded in a checkpoint.
        sha256: of its weights and buffers, likewise.

    Raises:
        ValueError: at `load`, without a module, or for other weights than recorded.
    """

    def __init__(
        self,
        module: nn.Module | None = None,
        class_names: list[str] | None = None,
        name: str | None = None,
        sha256: str | None = None,
    ) -> None:
        if module is not None:
            name = f"{type(module).__module__}.{type(module).__qualname__}"
        self.module, self.class_names, self.name, self.sha256 = module, class_names, name, sha256
        # plain data: the module itself is in no checkpoint
        self.init_args: dict[str, Any] = {"module": None, "class_names": class_names, "name": name, "sha256": sha256}

    def build(self) -> nn.Module:
        if self.module is None:
            raise ValueError(
                f"the teacher {self.name} was given in Python, and no checkpoint holds it; pass it again: "
                "load_from_checkpoint(path, teacher=...)"
            )
        found = _sha256(self.module)
        if self.sha256 not in (None, found):
            raise ValueError(f"the teacher {self.name} has other weights than the student learned from before")
        self.sha256 = self.init_args["sha256"] = found
        return self.module


def as_teacher(teacher: Teacher | nn.Module) -> Teacher:
    """Make a teacher of a module; of one of our LightningModules with its classes' names."""
    if isinstance(teacher, Teacher):
        return teacher
    return ModuleTeacher(getattr(teacher, "model", teacher), getattr(teacher, "class_names", None))


def _sha256(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
