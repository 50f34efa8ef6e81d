"""Which parameters learn at which rate, with which decay."""

from typing import Any

from torch import nn

from lightning_transfer.parts import Part


class ParamGroups(Part):
    """Splits trainable parameters into head and rest, and spares norms and biases from weight decay.

    Args:
        head_multiplier: learning rate of the head over that of the rest; a fresh head on a pretrained backbone bears 10 and more.
        decay_norms: whether one-dimensional parameters (norms, biases) are decayed like the others.

    Returns on call:
        groups for an optimiser, each with `name`, `params` and `lr_factor`; every trainable parameter is in exactly one.

    Raises:
        ValueError: if nothing is trainable, or for a multiplier that is not positive.
    """

    def __init__(self, head_multiplier: float = 1.0, decay_norms: bool = False) -> None:
        if head_multiplier <= 0:
            raise ValueError(f"head_multiplier={head_multiplier} must be positive; 1 treats the head like the rest")
        self.head_multiplier = head_multiplier
        self.decay_norms = decay_norms

    def __call__(self, model: nn.Module) -> list[dict[str, Any]]:
        head = {id(p) for p in getattr(model, "head", nn.Module()).parameters()}
        groups: dict[str, dict[str, Any]] = {}
        for parameter in model.parameters():
            if not parameter.requires_grad:
                continue
            part = "head" if id(parameter) in head else "backbone"
            spared = parameter.ndim <= 1 and not self.decay_norms
            name = f"{part}/no_decay" if spared else part
            factor = self.head_multiplier if part == "head" else 1.0
            group = groups.setdefault(name, {"name": name, "params": [], "lr_factor": factor})
            if spared:
                group["weight_decay"] = 0.0
            group["params"].append(parameter)
        if not groups:
            raise ValueError("no parameter is trainable: the edits froze all of the model")
        return list(groups.values())
