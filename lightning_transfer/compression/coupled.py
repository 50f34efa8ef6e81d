"""Channels that come and go together."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from timm.layers.attention import Attention
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_transfer.contracts import Prediction
from lightning_transfer.edits.narrow_channels import is_depthwise, layer_widths
from lightning_transfer.extras import load_extra

_PLAIN = (nn.Linear.forward, nn.Conv2d.forward, Conv2dSame.forward)


class CoupledChannels(NamedTuple):
    """Channels of several layers, of which each can only go from all: a layer's, those of what is added to it, and of what reads them.

    Attributes:
        name: of the layer that the channels are named after.
        group: Torch-Pruning's, with all channels.
        units: (U, u) channels, of which those of a row go as one: single ones; one of each group of a grouped convolution; a head.
    """

    name: str
    group: Any
    units: Tensor


class FoundChannels(NamedTuple):
    """What can be pruned of a network, and by name of a layer what cannot and why."""

    graph: Any
    coupled: list[CoupledChannels]
    left_out: dict[str, str]


def find_channels(model: nn.Module, image: Tensor) -> FoundChannels:
    """Follow a classifier through an image, and find which channels are coupled. The head's outputs are left alone.

    So are channels that a layer norm or a group norm averages over, since without them it would normalise the others otherwise; those
    whose weights belong to no linear layer, convolution or batch norm; and single dimensions of attention, whose heads go whole.

    Args:
        model: with `backbone` and `head`, in evaluation mode.
        image: (1, C, H, W) in [0, 1].

    Raises:
        ValueError: for a network that Torch-Pruning cannot follow, or of which nothing can be pruned.
        ModuleNotFoundError: without Torch-Pruning.

    Reference:
        Fang, Ma, Song, Mi, Wang, "DepGraph: Towards Any Structural Pruning", CVPR 2023.
    """
    tp = torch_pruning()
    strange = next(
        ((n, m) for n, m in model.named_modules() if hasattr(m, "num_heads") and type(m) is not Attention), None
    )
    if strange is not None:  # on some, Torch-Pruning goes round in circles for ever
        raise ValueError(
            f"{network_name(model)} cannot be pruned: {strange[0]} is of kind {type(strange[1]).__name__}, and no attention but timm's plain "
            "one can be followed"
        )
    head: Any = model.head
    with followed(model), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of parameters of their own, which are left out below
        graph = tp.DependencyGraph().build_dependency(model, [image], output_transform=logits_of)
        groups = [*graph.get_all_groups(ignored_layers=[*head.modules()])]
    coupled, left_out = [], {}
    for group in groups:
        root = graph._module2name[group[0].dep.target.module]
        reason = _obstacle(graph, group)
        if reason is None:
            coupled.append(CoupledChannels(root, *_units(model, graph, group)))
        else:
            left_out[root] = reason
    if not coupled:
        seen = "; ".join(f"{layer}: {reason}" for layer, reason in [*left_out.items()][:3])
        raise ValueError(
            f"{network_name(model)} has no channels that can be pruned: {seen or 'there is no layer in front of its head'}"
        )
    return FoundChannels(graph, coupled, left_out)


def torch_pruning() -> Any:
    """The library.

    Raises:
        ModuleNotFoundError: saying how to install it.
    """
    return load_extra("compress", "pruning channels needs Torch-Pruning", "torch_pruning")


def network_name(model: nn.Module) -> str:
    """What people call a classifier's network: timm's name of it, or its class."""
    backbone = getattr(model, "backbone", model)
    network = getattr(backbone, "model", getattr(backbone, "module", backbone))
    config: Any = getattr(network, "pretrained_cfg", None) or {}
    return str(config.get("architecture") or type(network).__name__)


def logits_of(prediction: Prediction) -> Tensor:
    """What Torch-Pruning is to go back from."""
    return prediction.logits


@contextmanager
def followed(model: nn.Module) -> Iterator[None]:
    """Within this context whatever the network's forward, torch's graph or Torch-Pruning stumble over is said in a sentence."""
    try:
        yield
    except Exception as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise ValueError(
            f"{network_name(model)} cannot be pruned, since Torch-Pruning cannot follow it: {reason}"
        ) from error


def _obstacle(graph: Any, group: Any) -> str | None:
    """Why coupled channels cannot go, or None if they can."""
    size, splits = len(group[0].idxs), set()
    for member in group:
        layer, out = member.dep.target.module, graph.is_out_channel_pruning_fn(member.dep.handler)
        if isinstance(layer, nn.Parameter):
            return f"{graph._param_to_name[layer]} is a parameter of its own"
        name = graph._module2name.get(layer)
        if name is None:  # an addition, an activation
            continue
        widths = layer_widths(layer)
        if widths is not None and (max(member.idxs) >= widths[out] or max(_known(member.root_idxs)) >= size):
            return f"Torch-Pruning loses count of them on the way to {name}"
        if (reason := _layer_obstacle(layer)) is not None:
            return f"{name} {reason}"
        if getattr(layer, "groups", 1) > 1 and not is_depthwise(layer):
            splits.add((layer.groups, len(member.idxs)))
    if len(splits) > 1 or any(length != size for _, length in splits):
        return "convolutions of unlike groups share them"
    return None


def _known(idxs: list[int | None]) -> list[int]:
    return [-1, *(idx for idx in idxs if idx is not None)]


def _layer_obstacle(layer: nn.Module) -> str | None:
    kind = type(layer).__name__
    if isinstance(layer, nn.Linear | nn.Conv2d):
        return None if type(layer).forward in _PLAIN else f"is of kind {kind}, which alters its weight or its input"
    if isinstance(layer, _BatchNorm):
        return None if layer.affine else "is a batch norm without weights, which does not put out zeros for zeros"
    if isinstance(layer, nn.LayerNorm | nn.GroupNorm):
        return f"is of kind {kind}, which averages over them"
    return f"is of kind {kind}, and neither linear layer, convolution nor batch norm"


def _units(model: nn.Module, graph: Any, group: Any) -> tuple[Any, Tensor]:
    """The group, and its channels in units that go as one. Those of attention are counted in its last layer, head by head."""
    groups = 1
    for dep, idxs in group:
        layer = dep.target.module
        parent = model.get_submodule(graph._module2name.get(layer, "").rpartition(".")[0])
        if isinstance(parent, Attention) and layer is parent.proj and graph.is_in_channel_pruning_fn(dep.handler):
            return graph.get_pruning_group(layer, dep.handler, idxs), torch.arange(len(idxs)).view(-1, parent.head_dim)
        if not is_depthwise(layer):
            groups = max(groups, getattr(layer, "groups", 1))
    return group, torch.arange(len(group[0].idxs)).view(groups, -1).T
