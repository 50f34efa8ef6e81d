"""Layers with fewer channels than the architecture gives them."""

from collections.abc import Mapping
from typing import Any

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_transfer.contracts import ModelEdit
from lightning_transfer.parts import describe

_HEAD = "head"


class NarrowChannels(ModelEdit):
    """Bring layers to fewer channels: what `prune_channels` writes can so be built and loaded again.

    A layer is left with its first channels. Which ones a pruning has kept is in the weights alone, which a checkpoint brings, or
    `StartFrom`. Attention has as many heads afterwards as its last layer has inputs for, and the backbone says how wide its embedding is.

    Args:
        outputs: channels that layers put out, by the layers' names such as `backbone.model.conv_stem`, those of norms and depthwise
            convolutions among them.
        inputs: channels that linear layers and other convolutions take.

    Raises:
        ValueError: for names that are no linear layer, convolution or batch norm of the model, and for numbers of channels that they
            cannot be brought to.
    """

    def __init__(self, outputs: dict[str, int], inputs: dict[str, int]) -> None:
        self.outputs = outputs
        self.inputs = inputs

    def __call__(self, model: nn.Module) -> None:
        layers = dict(model.named_modules())
        for widths, narrow in ((self.outputs, narrow_outputs), (self.inputs, narrow_inputs)):
            for name, width in widths.items():
                layer = layers.get(name)
                if layer is None or layer_widths(layer) is None:
                    found = "no layer of the model" if layer is None else f"a {type(layer).__name__}"
                    raise ValueError(
                        f"edits: NarrowChannels names {name!r}, which is {found}; linear layers, convolutions and batch norms can be "
                        "narrowed, in the architecture that was pruned"
                    )
                _check(name, layer, width, outputs=widths is self.outputs)
                narrow(layer, width)
        count_again(model)
        model.narrowed = self + getattr(model, "narrowed", None)  # type: ignore[assignment]  # for the checkpoint

    def __add__(self, before: "NarrowChannels | None") -> "NarrowChannels":
        """The edit that does what the one before and then this one do."""
        if before is None:
            return self
        return NarrowChannels(before.outputs | self.outputs, before.inputs | self.inputs)


def layer_widths(layer: nn.Module) -> tuple[int, int] | None:
    """Channels that a layer takes and puts out, or None for a module that cannot be narrowed."""
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels, layer.out_channels
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    if isinstance(layer, _BatchNorm):
        return layer.num_features, layer.num_features
    return None


def is_depthwise(layer: nn.Module) -> bool:
    """Whether a layer is a convolution each of whose channels sees one of its inputs alone, so that it has as many of both."""
    return isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels == layer.out_channels


def narrowing(dense: nn.Module, narrow: nn.Module) -> NarrowChannels:
    """The edit that leads from one model to another of the same layers."""
    outputs, inputs = {}, {}
    for name, layer in narrow.named_modules():
        widths, before = layer_widths(layer), layer_widths(dense.get_submodule(name))
        if widths is None or before is None:
            continue
        if widths[1] != before[1]:
            outputs[name] = widths[1]
        if widths[0] != before[0] and not (isinstance(layer, _BatchNorm) or is_depthwise(dense.get_submodule(name))):
            inputs[name] = widths[0]
    return NarrowChannels(outputs, inputs)


def recorded(edits: list[Any] | None, narrowed: NarrowChannels) -> list[Any]:
    """Edits as a checkpoint has them: the widths come first, wherever they were read."""
    own = describe(narrowed, "edits")
    return [own, *(other for other in edits or () if other["class_path"] != own["class_path"])]


def recorded_in(hparams: Mapping[str, Any]) -> NarrowChannels | None:
    """The widths that a checkpoint's hyper-parameters record."""
    path = f"{NarrowChannels.__module__}.{NarrowChannels.__qualname__}"
    found = next((edit for edit in hparams.get("edits") or () if edit["class_path"] == path), None)
    return None if found is None else NarrowChannels(**found["init_args"])


def _check(name: str, layer: nn.Module, width: int, outputs: bool) -> None:
    widths = layer_widths(layer)
    assert widths is not None
    side, has = ("outputs", widths[1]) if outputs else ("inputs", widths[0])
    if not 1 <= width <= has:
        raise ValueError(f"edits: NarrowChannels({side}={{{name!r}: {width}}}) must be 1 to {has}, which the layer has")
    groups = 1 if is_depthwise(layer) else getattr(layer, "groups", 1)
    if width % groups:
        raise ValueError(
            f"edits: NarrowChannels({side}={{{name!r}: {width}}}) must be a multiple of the convolution's {groups} groups"
        )


def narrow_outputs(layer: nn.Module, width: int) -> None:
    """Leave a layer its first outputs, in place."""
    depthwise = is_depthwise(layer)
    for name in ("weight", "bias", "running_mean", "running_var"):
        _cut(layer, name, 0, width)
    if isinstance(layer, nn.Linear):
        layer.out_features = width
    elif isinstance(layer, nn.Conv2d):
        layer.out_channels = width
        if depthwise:
            layer.in_channels = layer.groups = width
    elif isinstance(layer, _BatchNorm):
        layer.num_features = width


def narrow_inputs(layer: nn.Module, width: int) -> None:
    """Leave a layer its first inputs, in each of its groups, in place."""
    if isinstance(layer, nn.Conv2d):
        _cut(layer, "weight", 1, width // layer.groups)
        layer.in_channels = width
    elif isinstance(layer, nn.Linear):
        _cut(layer, "weight", 1, width)
        layer.in_features = width


def _cut(layer: nn.Module, name: str, dim: int, width: int) -> None:
    old: Tensor | None = getattr(layer, name, None)
    if old is None:
        return
    kept = old.detach().narrow(dim, 0, width).clone(memory_format=torch.preserve_format)
    setattr(layer, name, nn.Parameter(kept, old.requires_grad) if isinstance(old, nn.Parameter) else kept)


def count_again(model: nn.Module) -> None:
    """Let the owners of narrowed layers know: attention has as many heads as its last layer has inputs for, and so on."""
    for module in model.modules():
        if isinstance(module, Attention):
            module.attn_dim = int(module.proj.in_features)
            module.num_heads = module.attn_dim // module.head_dim
    backbone, head = getattr(model, "backbone", None), getattr(model, _HEAD, None)
    first = (
        next((layer for layer in head.modules() if isinstance(layer, nn.Linear)), None) if head is not None else None
    )
    if backbone is not None and first is not None:
        backbone.num_features = first.in_features
