"""Channels that come and go together, which of them matter least, and the network without them."""

import math
import warnings
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import torch
from timm.layers import Attention
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_transfer.contracts import Prediction
from lightning_transfer.edits.narrow_channels import count_again, is_depthwise

Importance = Literal["magnitude", "taylor"]
Ranking = Literal["layer", "isomorphic"]
_PLAIN = (nn.Linear.forward, nn.Conv2d.forward, Conv2dSame.forward)
_TOLERANCE = 1e-3  # of logits, as a share of their size: in single precision they differ by 1e-6 where all is well


class CoupledChannels(NamedTuple):
    """Channels of several layers, of which each can only go from all: a layer's, those of what is added to it, and of what reads them.

    Attributes:
        name: of the layer that the channels are counted in.
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
    tp, name = torch_pruning(), network_name(model)
    head: Any = model.head
    coupled, left_out = [], {}
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells of parameters of their own, which `_obstacle` names
            graph = tp.DependencyGraph().build_dependency(model, [image], output_transform=_logits)
            groups = [*graph.get_all_groups(ignored_layers=[*head.modules()])]
    except Exception as error:  # whatever the network's forward, torch's graph or Torch-Pruning stumble over
        reason = (str(error) or repr(error)).splitlines()[0]
        raise ValueError(f"Torch-Pruning cannot follow {name}, so that its channels cannot be pruned: {reason}") from error
    for group in groups:
        root = graph._module2name[group[0].dep.target.module]
        reason = _obstacle(model, graph, group)
        if reason is None:
            group, units = _units(model, graph, group)
            coupled.append(CoupledChannels(root, group, units))
        else:
            left_out[root] = reason
    if not coupled:
        seen = "; ".join(f"{layer}: {reason}" for layer, reason in [*left_out.items()][:3])
        raise ValueError(f"{name} has no channels that can be pruned: {seen or 'no layer in front of its head'}")
    return FoundChannels(graph, coupled, left_out)


def remove_channels(
    model: nn.Module,
    image: Tensor,
    ratio: float,
    importance: Importance = "magnitude",
    ranking: Ranking = "layer",
    round_to: int = 1,
) -> dict[str, str]:
    """Take the least important channels out of a classifier, in place.

    What is left computes what the whole network would with these channels at zero, and is compared with it on the image.

    Args:
        model: with `backbone` and `head`, in evaluation mode; with gradients, for `taylor`.
        image: (1, C, H, W) in [0, 1].
        ratio: share of the channels that go, in [0, 1); of each layer at least one stays.
        importance: `magnitude` is the mean square of a channel's weights in all layers that have it, `taylor` the mean of |weight times
            gradient|: to first order, how the loss changes without it. Both are in units of the coupled layers' mean.
        ranking: `layer` takes the same share of all; `isomorphic` ranks layers that are coupled alike with one another.
        round_to: kept channels are a multiple of it, in layers that have as many.

    Returns:
        by name of a layer, why its channels were left alone

    Raises:
        ValueError: for values out of range, and a network that cannot be pruned.

    Reference:
        Fang et al., "Isomorphic Pruning for Vision Models", ECCV 2024; Molchanov et al., "Importance Estimation for Neural Network
        Pruning", CVPR 2019.
    """
    check_pruning(ratio, importance, ranking, round_to)
    tp = torch_pruning()
    graph, coupled, left_out = find_channels(model, image)
    kinds = {"magnitude": tp.importance.GroupMagnitudeImportance, "taylor": tp.importance.GroupTaylorImportance}
    measure = kinds[importance]()
    scores = [measure(of.group).nan_to_num()[of.units].mean(1).cpu() for of in coupled]
    gone = [
        of.units[rows].flatten().tolist()
        for of, rows in zip(coupled, choose(coupled, scores, ratio, ranking, round_to), strict=True)
    ]
    with torch.no_grad():
        chosen = [(of, idxs) for of, idxs in zip(coupled, gone, strict=True) if idxs]
        for of, idxs in chosen:
            _silence(graph, of, idxs)
        whole = _logits(model(image))
        for of, idxs in chosen:
            of.group.prune(idxs)
        count_again(model)
        _compare(model, image, whole)
    return left_out


def choose(
    coupled: list[CoupledChannels], scores: list[Tensor], ratio: float, ranking: Ranking, round_to: int
) -> list[Tensor]:
    """Which units go, one tensor of their numbers for each of the coupled channels.

    Args:
        coupled: what can be pruned.
        scores: (U,) importance of its units.
        ratio: share that goes.
        ranking: among which others a unit is ranked.
        round_to: kept channels are a multiple of it where there are as many.
    """
    scopes: dict[Any, list[int]] = {}
    for i, of in enumerate(coupled):
        scopes.setdefault(i if ranking == "layer" else _structure(of.group), []).append(i)
    gone = [torch.empty(0, dtype=torch.long)] * len(coupled)
    for members in scopes.values():
        ranked = torch.cat([scores[i] for i in members]).argsort(stable=True)
        lowest = torch.zeros(len(ranked), dtype=torch.bool)
        lowest[ranked[: round(ratio * len(ranked))]] = True
        for i, mask in zip(members, lowest.split([len(scores[i]) for i in members]), strict=True):
            count = _rounded(int(mask.sum()), *coupled[i].units.shape, round_to)
            gone[i] = scores[i].argsort(stable=True)[:count]
    return gone


def check_pruning(ratio: float, importance: str, ranking: str, round_to: int) -> None:
    """Refuse values out of range.

    Raises:
        ValueError: saying what would do.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio={ratio} is a share of the channels and lies in [0, 1); 0.3 halves most networks")
    if importance not in ("magnitude", "taylor"):
        raise ValueError(f"importance={importance!r} must be magnitude or taylor")
    if ranking not in ("layer", "isomorphic"):
        raise ValueError(f"ranking={ranking!r} must be layer or isomorphic")
    if round_to < 1:
        raise ValueError(f"round_to={round_to} must be at least 1, which rounds nothing; 8 is common")


def torch_pruning() -> Any:
    """The library.

    Raises:
        ModuleNotFoundError: saying how to install it.
    """
    try:
        import torch_pruning as tp
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'pruning channels needs Torch-Pruning: pip install "lightning_transfer[compress]"'
        ) from error
    return tp


def network_name(model: nn.Module) -> str:
    """What people call a classifier's network: timm's name of it, or its class."""
    backbone = getattr(model, "backbone", model)
    network = getattr(backbone, "model", backbone)
    config = getattr(network, "pretrained_cfg", None) or {}
    return str(config.get("architecture") or type(network).__name__)


def _logits(prediction: Prediction) -> Tensor:
    return prediction.logits


def _obstacle(model: nn.Module, graph: Any, group: Any) -> str | None:
    """Why coupled channels cannot go, or None if they can."""
    splits = set()
    for dep, idxs in group:
        layer = dep.target.module
        name = graph._param_to_name.get(layer) if isinstance(layer, nn.Parameter) else graph._module2name.get(layer)
        if isinstance(layer, nn.Parameter):
            return f"{name} is a parameter of its own"
        if name is None:  # an addition, an activation
            continue
        reason = _layer_obstacle(layer) or _attention_obstacle(model, name)
        if reason is not None:
            return f"{name} {reason}"
        if getattr(layer, "groups", 1) > 1 and not is_depthwise(layer):
            splits.add((layer.groups, len(idxs)))
    if len(splits) > 1 or any(length != len(group[0].idxs) for _, length in splits):
        return "convolutions of unlike groups share them"
    return None


def _layer_obstacle(layer: nn.Module) -> str | None:
    kind = type(layer).__name__
    if isinstance(layer, nn.Linear | nn.Conv2d):
        return None if type(layer).forward in _PLAIN else f"is a {kind}, which alters its weight or its input"
    if isinstance(layer, _BatchNorm):
        return None if layer.affine else "is a batch norm without weights, which would not put out zeros"
    if isinstance(layer, nn.LayerNorm | nn.GroupNorm):
        return f"is a {kind}, which averages over them"
    return f"is a {kind}, and neither linear layer, convolution nor batch norm"


def _attention_obstacle(model: nn.Module, name: str) -> str | None:
    parent = model.get_submodule(name.rpartition(".")[0])
    if hasattr(parent, "num_heads") and type(parent) is not Attention:
        return f"belongs to a {type(parent).__name__}, which counts its heads in a way of its own"
    return None


def _units(model: nn.Module, graph: Any, group: Any) -> tuple[Any, Tensor]:
    """The group, and its channels in units that go as one. Those of attention are counted in its last layer, head by head."""
    groups = 1
    for dep, idxs in group:
        layer = dep.target.module
        name = graph._module2name.get(layer, "")
        parent = model.get_submodule(name.rpartition(".")[0])
        if type(parent) is Attention and layer is parent.proj and graph.is_in_channel_pruning_fn(dep.handler):
            return graph.get_pruning_group(layer, dep.handler, idxs), torch.arange(len(idxs)).view(-1, parent.head_dim)
        if not is_depthwise(layer):
            groups = max(groups, getattr(layer, "groups", 1))
    return group, torch.arange(len(group[0].idxs)).view(groups, -1).T


def _structure(group: Any) -> tuple[Any, ...]:
    """What kinds of layers are coupled, and on which side."""
    return tuple((type(dep.target.module), dep.handler.__name__) for dep, _ in group)


def _rounded(count: int, units: int, size: int, round_to: int) -> int:
    """How many units go, of `units` with `size` channels each, such that one stays and those kept are a multiple."""
    count = min(count, units - 1)
    step = round_to // math.gcd(round_to, size)
    if count == 0 or units < step:
        return 0
    kept = max(1, round((units - count) / step)) * step
    return units - (kept if kept <= units else units // step * step)


def _silence(graph: Any, of: CoupledChannels, idxs: Iterable[int]) -> None:
    """Let channels be zero wherever they are put out."""
    root = of.group[0].dep
    for dep, own in graph.get_pruning_group(root.target.module, root.handler, idxs):
        layer = dep.target.module
        if isinstance(layer, nn.Linear | nn.Conv2d | _BatchNorm) and graph.is_out_channel_pruning_fn(dep.handler):
            for parameter in layer.parameters():
                parameter[own] = 0


def _compare(model: nn.Module, image: Tensor, whole: Tensor) -> None:
    name = network_name(model)
    try:
        narrow = _logits(model(image))
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"{name} cannot be pruned: without these channels it no longer runs ({str(error).splitlines()[0]})"
        ) from error
    change = (narrow - whole).abs().max().item()
    if not change <= _TOLERANCE * max(1.0, whole.abs().max().item()):
        raise ValueError(
            f"{name} cannot be pruned: without these channels its logits differ by {change:.3g} from those with the channels at zero"
        )
