"""Losses and their weights, by name."""

from collections.abc import Mapping

from torch import nn

from lightning_transfer.contracts import DistillLoss

_LOGGED = ("loss", "loss_step", "teacher_entropy")  # by the modules


def by_name(losses: Mapping[str, DistillLoss]) -> nn.ModuleDict:
    """Keep losses under the names that they are logged by.

    Raises:
        ValueError: for none at all, or names that torch or the log needs otherwise.
    """
    if not losses:
        raise ValueError("losses are none; give at least one, losses.distill.SoftTargetKL for example")
    reserved = [name for name in losses if name in _LOGGED or "/" in name]
    try:
        found = nn.ModuleDict(dict(losses))
    except KeyError:
        reserved = [name for name in losses if "." in name or hasattr(nn.ModuleDict(), name)]
    if reserved:
        raise ValueError(f"losses cannot be named {', '.join(reserved)}; take other names, without dots and slashes")
    return found


def weights_by_name(losses: Mapping[str, DistillLoss], weights: Mapping[str, float]) -> dict[str, float]:
    """Give each loss its weight, 1 where it is not named.

    Raises:
        ValueError: for names without a loss, and weights that are negative or all 0.
    """
    unknown = [name for name in weights if name not in losses]
    if unknown:
        raise ValueError(f"weights names {', '.join(unknown)}, but the losses are {', '.join(losses)}")
    found = {name: float(weights.get(name, 1.0)) for name in losses}
    if not all(0 <= weight < float("inf") for weight in found.values()) or not sum(found.values()):
        raise ValueError(f"weights={found} must be at least 0, finite, and not all 0")
    return found
