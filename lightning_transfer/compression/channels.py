"""Which channels of a network matter least, and the network without them."""

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_transfer.compression.coupled import (
    CoupledChannels,
    find_channels,
    followed,
    logits_of,
    network_name,
    torch_pruning,
)
from lightning_transfer.edits.narrow_channels import count_again

Importance = Literal["magnitude", "taylor"]
Ranking = Literal["layer", "isomorphic"]
_TOLERANCE = 1e-3  # of logits, as a share of their size: in single precision they differ by 1e-6 where all is well


def remove_channels(
    model: nn.Module,
    image: Tensor,
    ratio: float,
    importance: Importance = "magnitude",
    ranking: Ranking = "layer",
    round_to: int = 8,
) -> dict[str, str]:
    """Take the least important channels out of a classifier, in place.

    What is left computes what the whole network would with these channels at zero, and is compared with that on the image.

    Args:
        model: with `backbone` and `head`, in evaluation mode; with gradients, for `taylor`.
        image: (1, C, H, W) in [0, 1].
        ratio: share of the channels that go, in [0, 1); of each layer at least one stays.
        importance: `magnitude` is the squared norm of a channel's weights, `taylor` the sum of |weight times gradient|: to first order, how
            the loss changes without them. Both are means over the layers that have the channel, in units of the coupled channels' mean.
        ranking: `layer` takes the same share of all; `isomorphic` ranks those that are coupled alike with one another.
        round_to: kept channels are a multiple of it, where there are as many; where nothing goes, nothing is rounded.

    Returns:
        by name of a layer, why its channels were left alone

    Raises:
        ValueError: for values out of range, and a network that cannot be pruned.
        ModuleNotFoundError: without Torch-Pruning.

    Reference:
        Fang et al., "Isomorphic Pruning for Vision Models", ECCV 2024; Molchanov et al., "Importance Estimation for Neural Network
        Pruning", CVPR 2019.
    """
    check_pruning(ratio, importance, ranking, round_to)
    tp = torch_pruning()
    graph, coupled, left_out = find_channels(model, image)
    kinds = {"magnitude": tp.importance.GroupMagnitudeImportance, "taylor": tp.importance.GroupTaylorImportance}
    measure = kinds[importance]()
    with followed(model), torch.no_grad():
        scores = [measure(of.group).nan_to_num()[of.units].mean(1).cpu() for of in coupled]
        rows = choose(coupled, scores, ratio, ranking, round_to)
        chosen = [(of, of.units[gone].flatten().tolist()) for of, gone in zip(coupled, rows, strict=True) if len(gone)]
        for of, idxs in chosen:
            _silence(graph, of, idxs)
        whole = logits_of(model(image))
        for of, idxs in chosen:
            of.group.prune(idxs)
        count_again(model)
        change = (logits_of(model(image)) - whole).abs().max().item()
    if not change <= _TOLERANCE * max(1.0, whole.abs().max().item()):
        raise ValueError(
            f"{network_name(model)} cannot be pruned: without these channels its logits differ by {change:.3g} from those with them at zero"
        )
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
        for i, mask in zip(members, torch.split(lowest, [len(scores[i]) for i in members]), strict=True):
            count = _rounded(int(mask.sum()), len(mask), coupled[i].units.shape[1], round_to)
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


def _structure(group: Any) -> tuple[Any, ...]:
    """What kinds of layers are coupled, and on which side."""
    return tuple((type(dep.target.module), dep.handler.__name__) for dep, _ in group)


def _rounded(count: int, units: int, size: int, round_to: int) -> int:
    """How many units go, of `units` with `size` channels each, such that one stays and the channels kept are a multiple."""
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
