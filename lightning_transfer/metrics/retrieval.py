"""How often images and captions find one another."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class Retrieval(Metric):
    """Recall at k both ways over all pairs that were seen: the share of queries that have a right one among the k nearest.

    A caption counts once, however many images it has. So an image is looked for among the different captions, and a caption among all images,
    where any of its own is a hit. What is as near as the nearest right one counts as nearer: vectors that are all alike find nothing.
    All vectors are kept, and compared `chunk` queries at a time.

    Args:
        ks: each k ≥ 1.
        chunk: queries at a time, ≥ 1.

    Shape:
        update: image (B, D), text (B, D) of unit length, group (B,) int64, equal for equal captions

    Returns on compute:
        `image_to_text_r1`, ..., `text_to_image_r1`, ..., in [0, 1], and `chance_r1`: what drawing by lot would reach, the mean of both ways

    Raises:
        ValueError: for values out of range.

    Example:
        >>> metric = Retrieval(ks=[1])
        >>> metric.update(torch.eye(3), torch.eye(3)[[0, 2, 1]], torch.tensor([4, 5, 6]))
        >>> {name: round(value.item(), 4) for name, value in metric.compute().items()}
        {'image_to_text_r1': 0.3333, 'text_to_image_r1': 0.3333, 'chance_r1': 0.3333}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    image: Any
    text: Any
    group: Any

    def __init__(self, ks: Sequence[int] = (1, 5, 10), chunk: int = 1024, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not ks or min(ks) < 1:
            raise ValueError(f"ks={list(ks)} of Retrieval must name numbers from 1 on")
        if chunk < 1:
            raise ValueError(f"chunk={chunk} of Retrieval must be at least 1")
        self.ks, self.chunk = tuple(ks), chunk
        for name in ("image", "text", "group"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, image: Tensor, text: Tensor, group: Tensor) -> None:
        self.image.append(image.detach().float())
        self.text.append(text.detach().float())
        self.group.append(group)

    def compute(self) -> dict[str, Tensor]:
        image, text, group = (_joined(state) for state in (self.image, self.text, self.group))
        captions, first, right = _distinct(group)
        ahead = {
            "image_to_text": ranks(image, group, text[first], captions, self.chunk),
            "text_to_image": ranks(text[first], captions, image, group, self.chunk),
        }
        found = {f"{way}_r{k}": (rank < k).float().mean() for way, rank in ahead.items() for k in self.ks}
        for k in self.ks:
            by_lot = min(1.0, k / len(captions)), _by_lot(right.tolist(), len(group), k)
            found[f"chance_r{k}"] = image.new_tensor(sum(by_lot) / 2)
        return found


def ranks(query: Tensor, query_group: Tensor, gallery: Tensor, gallery_group: Tensor, chunk: int = 1024) -> Tensor:
    """How many wrong entries of a gallery are as near to each query as the nearest right one, or nearer.

    Args:
        query: (Q, D).
        query_group: (Q,).
        gallery: (N, D).
        gallery_group: (N,), where each query's group occurs.
        chunk: queries at a time.

    Shape:
        (Q,) int64; 0 is a hit at once
    """
    found = []
    for start in range(0, len(query), chunk):
        part = slice(start, start + chunk)
        scores, right = query[part] @ gallery.T, query_group[part, None] == gallery_group
        best = scores.masked_fill(~right, float("-inf")).amax(dim=1, keepdim=True)
        found.append(((scores >= best) & ~right).sum(dim=1))
    return torch.cat(found)


def _joined(state: Any) -> Tensor:
    """All that was seen; between processes torchmetrics has joined it already."""
    return torch.cat(state) if isinstance(state, list) else state


def _distinct(group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The different captions, where each occurs first, and how often."""
    captions, number, counts = torch.unique(group, return_inverse=True, return_counts=True)
    first = torch.full_like(captions, len(group)).scatter_reduce(
        0, number, torch.arange(len(group), device=group.device), "amin"
    )
    return captions, first, counts


def _by_lot(right: Sequence[int], count: int, k: int) -> float:
    """How often k of `count` drawn by lot hold one of the right ones, averaged over queries."""
    k = min(k, count)
    missed = (math.comb(count - m, k) / math.comb(count, k) for m in right)
    return 1 - sum(missed) / len(right)
