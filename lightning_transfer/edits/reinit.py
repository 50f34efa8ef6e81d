"""Starting some layers afresh."""

import re

from torch import nn

from lightning_transfer.contracts import ModelEdit


class Reinit(ModelEdit):
    """Give the layers whose names match fresh random weights: the last stages of a pretrained network may be too special.

    Args:
        pattern: regular expression, searched in module names such as `backbone.model.layer4.0.conv1`.

    Raises:
        ValueError: if no layer with parameters matches.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = re.compile(pattern)

    def __call__(self, model: nn.Module) -> None:
        layers = [
            m for name, m in model.named_modules() if self.pattern.search(name) and hasattr(m, "reset_parameters")
        ]
        if not layers:
            names = [
                name for name, m in model.named_modules() if name.count(".") == 2 and any(True for _ in m.parameters())
            ]
            raise ValueError(
                f"edits: Reinit(pattern={self.pattern.pattern!r}) matches no layer of the model; parts: {', '.join(names)}"
            )
        for layer in layers:
            layer.reset_parameters()
