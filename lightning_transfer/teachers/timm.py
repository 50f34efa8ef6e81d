"""A pretrained timm model as a teacher, with its own classes."""

from typing import Any

from torch import nn

from lightning_transfer.models.source import SourceModel
from lightning_transfer.teachers.base import Teacher


class TimmTeacher(Teacher):
    """A published network with the classes that it was trained on; for other classes its features can be learned, not its logits.

    Args:
        name: timm's, with the tag that names the weights: `resnet50.a1_in1k`.
        pretrained: `true` the hub, `packaged` or a file's path as for `TimmBackbone`; `false` random weights, for trials.
        options: further arguments of `timm.create_model`.

    Raises:
        ValueError: for pretrained=auto; at `load` for a name that timm does not know, or weights that do not fit.
        FileNotFoundError: at `load`, for weights that cannot be had.
    """

    def __init__(self, name: str, pretrained: bool | str = True, options: dict[str, Any] | None = None) -> None:
        if pretrained == "auto":
            raise ValueError(
                "pretrained=auto could end in a teacher of random weights; take true, packaged or a file's path"
            )
        self.name, self.pretrained, self.options = name, pretrained, options or {}

    def build(self) -> nn.Module:
        return SourceModel(self.name, self.pretrained, self.options)
