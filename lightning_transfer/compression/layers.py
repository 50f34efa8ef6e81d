"""Which layers of a network are compressed, and which are left alone."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from lightning_transfer.compression.base import Compression
from lightning_transfer.compression.rows import neighbours, obstacle, weight_rows

_HEAD = "head"


class Choice(NamedTuple):
    """Layers to compress in the order of the network's definition, and for every other one with a matrix of weights the reason why not."""

    layers: dict[str, nn.Module]
    left_out: dict[str, str]


def choose_layers(model: nn.Module, compressions: Sequence[Compression], targets: str | None = None) -> Choice:
    """Choose linear layers and convolutions.

    Args:
        model: the network.
        compressions: what each layer has to go through.
        targets: regular expression, searched in names such as `backbone.model.blocks.0.0.conv_pw`; if not given, all but the first
            convolution and the head, which are small and matter most, and those that cannot be compressed so.

    Raises:
        ValueError: for an expression that is none, names no layer or one that cannot be compressed so, or if nothing is left.
    """
    try:
        pattern = None if targets is None else re.compile(targets)
    except re.error as error:
        raise ValueError(f"targets={targets!r} is no regular expression: {error}") from error
    known = {name: layer for name, layer in model.named_modules() if _has_matrix(layer)}
    stem = next((name for name, layer in known.items() if isinstance(layer, nn.Conv2d)), None)
    layers: dict[str, nn.Module] = {}
    left_out: dict[str, str] = {}
    for name, layer in known.items():
        reason = _obstacle(layer, compressions)
        if pattern is not None and not pattern.search(name):
            left_out[name] = "not among the targets"
        elif pattern is not None and reason is not None:
            raise ValueError(f"targets={targets!r} names {name}, which cannot be compressed so: {reason}")
        elif pattern is None and (name == stem or name.partition(".")[0] == _HEAD):
            left_out[name] = "the first convolution" if name == stem else "the head"
        elif reason is not None:
            left_out[name] = reason
        else:
            layers[name] = layer
    if not layers:
        seen = "; ".join(f"{name}: {reason}" for name, reason in [*left_out.items()][:5])
        raise ValueError(
            f"targets={targets!r} leaves no layer to compress; {seen or 'the network has none with a matrix'}"
        )
    return Choice(layers, left_out)


def _has_matrix(layer: nn.Module) -> bool:
    weight = layer._parameters.get("weight")
    return weight is not None and weight.ndim >= 2 and not isinstance(layer, nn.Embedding)


def _obstacle(layer: nn.Module, compressions: Sequence[Compression]) -> str | None:
    reason = obstacle(layer)
    if reason is not None:
        return reason
    rows, channels = weight_rows(layer), neighbours(layer)
    reasons = (compression.obstacle(rows, channels) for compression in compressions)
    return next((reason for reason in reasons if reason is not None), None)
