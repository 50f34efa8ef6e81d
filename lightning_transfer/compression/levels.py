"""What all levels of all layers take and cost, and which of them a budget chooses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_transfer.compression.base import Compression, Pruning, Rounding, in_all_ways
from lightning_transfer.compression.budget import PRICES, Budget, Kept, cheapest
from lightning_transfer.compression.gather import layers_in_order, positions
from lightning_transfer.compression.kept import KeptLayers
from lightning_transfer.compression.rows import LayerRows, set_rows, weight_rows
from lightning_transfer.metrics.agreement import divergence
from lightning_transfer.tasks import Task

_UNROUNDED = 32  # bits of a weight


class Spent(NamedTuple):
    """How a budget was shared out.

    Attributes:
        plans: of each compression for each layer.
        limit: the budget.
        spent: what the chosen levels take.
        cost: sum of their costs.
        cost_alike: of the levels that the compressions name, all layers alike, where these are among the levels.
    """

    plans: list[dict[str, Any]]
    limit: int
    spent: int
    cost: float
    cost_alike: float | None


def share_out(
    budget: Budget,
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    compressions: Sequence[Compression],
    batches: Iterable[Tensor],
    task: Task = "classification",
    gigabytes: float = 1.0,
    kept: KeptLayers | None = None,
    tell: Callable[[str], None] | None = None,
) -> Spent:
    """Compress each layer to all levels, look what that costs, and choose. The model is left as it was.

    Only costs are remembered, so that memory holds the levels of no more than one layer, and one level of it at a time.

    Args:
        budget: what is shared out, and among which levels.
        model: dense, in evaluation mode.
        layers: of the model, by name.
        compressions: applied to each layer in turn, at the strengths that make up the budget.
        batches: calibration images (B, C, H, W), the same ones whenever they are gone through.
        task: what the model's answers are.
        gigabytes: of second moments at a time, in 10⁹ bytes.
        kept: costs that are known, where some may be.
        tell: called after each layer with its name.

    Raises:
        ValueError: for a budget that the levels do not keep to, or leaves nothing to choose.
    """
    weights = {name: weight_rows(layer) for name, layer in layers.items()}
    levels = [[way.plan(weights) for way in ways] for ways in budget.levels(compressions)]
    own = [compression.plan(weights) for compression in compressions]
    sizes = {name: (rows.numel(), int(rows.count_nonzero())) for name, rows in weights.items()}
    weights.clear()
    places = positions(model, [*layers], batches)

    def price(name: str, way: Sequence[Any]) -> int:
        return PRICES[budget.price](_kept(compressions, way, *sizes[name], places[name]))

    plans = {name: [[plan[name] for plan in of_one] for of_one in levels] for name in layers}
    ways = {name: [*product(*plans[name])] for name in layers}
    prices = {name: [price(name, way) for way in ways[name]] for name in layers}
    alike = {name: tuple(plan[name] for plan in own) for name in layers}
    limit = sum(price(name, way) for name, way in alike.items())
    budget.check(prices.values(), limit)
    judge = _Divergence(model, batches, budget.images, task) if budget.cost == "divergence" else None
    costs: dict[str, list[float]] = {}
    for known in layers_in_order(model, [*layers], batches, gigabytes, lambda name: _known(kept, name) is not None):
        name, done = known.name, _known(kept, known.name)
        if done is None:
            weighed = in_all_ways(compressions, known, plans[name])
            done = [known.share(weight) if judge is None else judge(layers[name], known, weight) for weight in weighed]
            if kept is not None:
                kept.write_costs(name, done)
        costs[name] = done
        if tell is not None:
            tell(name)
    numbers = cheapest([costs[name] for name in layers], [prices[name] for name in layers], limit, budget.buckets)
    chosen, cost_alike = dict(zip(layers, numbers, strict=True)), None
    cost = _total(costs, chosen)
    if all(alike[name] in ways[name] for name in layers):
        same = {name: ways[name].index(alike[name]) for name in layers}
        cost_alike = _total(costs, same)
        chosen, cost = (same, cost_alike) if cost_alike < cost else (chosen, cost)  # sums that buckets have dropped
    found = [{name: ways[name][number][i] for name, number in chosen.items()} for i in range(len(compressions))]
    return Spent(found, limit, sum(prices[name][number] for name, number in chosen.items()), cost, cost_alike)


def _kept(compressions: Sequence[Compression], way: Sequence[Any], size: int, present: int, places: int) -> Kept:
    """What is left of a layer with so many weights, of which so many are other than zero."""
    left, bits = present, _UNROUNDED
    for compression, planned in zip(compressions, way, strict=True):
        if isinstance(compression, Pruning):
            left = min(left, size - planned * compression.pattern.size)
        elif isinstance(compression, Rounding):
            bits = planned
    return Kept(left, places, bits)


def _known(kept: KeptLayers | None, name: str) -> list[float] | None:
    return None if kept is None else kept.costs(name)


def _total(costs: Mapping[str, Sequence[float]], chosen: Mapping[str, int]) -> float:
    return sum(costs[name][number] for name, number in chosen.items())


class _Divergence:
    """How far a network's answers are from its own with one layer's weights exchanged: the mean over images, in nats, or squared numbers.

    Its own probabilities stand for labels, so that no label is needed and the dense network costs nothing.
    """

    def __init__(self, model: nn.Module, batches: Iterable[Tensor], images: int, task: Task) -> None:
        self.model, self.task = model, task
        self.images: list[Tensor] = []
        device = next(model.parameters()).device
        for batch in batches:
            self.images.append(batch.to(device))
            if sum(map(len, self.images)) >= images:
                break
        self.before = self._logits()

    def __call__(self, layer: nn.Module, known: LayerRows, weight: Tensor) -> float:
        set_rows(layer, weight)
        try:
            after = self._logits()
        finally:
            set_rows(layer, known.weight)
        if self.task == "regression":
            return (after - self.before).square().mean().item()
        return divergence(self._classes(self.before).softmax(1), self._classes(after)).mean().item()

    def _classes(self, logits: Tensor) -> Tensor:
        """Each label of several is a choice of two: its logit against 0."""
        return logits if self.task == "classification" else torch.stack([logits, logits * 0], -1).flatten(0, -2)

    @torch.no_grad()
    def _logits(self) -> Tensor:
        answers = [self.model(images) for images in self.images]
        return torch.cat([getattr(answer, "logits", answer).double() for answer in answers])
