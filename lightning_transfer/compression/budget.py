"""How much of each layer is left, such that all together keep to a budget and what they do changes least."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch

from lightning_transfer.compression.base import Compression, Pruning, Rounding
from lightning_transfer.compression.patterns import Unstructured

Price = Literal["weights", "macs", "bits"]
Cost = Literal["error", "divergence"]
_STEP, _LEAST = 0.9, 0.01  # the authors' densities: each so much of the one before, down to 1 %


class Kept(NamedTuple):
    """What a level leaves of a layer.

    Attributes:
        weights: that may be other than zero.
        positions: of an image at which the layer multiplies them.
        bits: of each.
    """

    weights: int
    positions: int
    bits: int


PRICES: dict[str, Callable[[Kept], int]] = {
    "weights": lambda kept: kept.weights,
    "macs": lambda kept: kept.weights * kept.positions,
    "bits": lambda kept: kept.weights * kept.bits,
}


@dataclass(frozen=True)
class Budget:
    """Layers differ in how much they can lose: each gets a level of its own, found by dynamic programming.

    The budget is what the layers would take together if each had the share of zeros and the bits that the compressions name. Each
    layer is compressed to all levels, once, beside a network that is dense otherwise, and the levels are chosen whose costs sum up to
    least.

    Latency is no price: zeros and rounded weights run as long as others do, so that no level would be cheaper than another.

    Args:
        price: what is shared out: weights other than zero, multiply-adds with them, or the bits that they take. Where they stand takes
            room too, and is not counted.
        cost: what a level costs: `error`, the squared error of the layer's outputs as a share of their square, or `divergence`, how far
            the network's answers are from the dense one's with this layer alone compressed, in nats; it takes one look at `images` a
            layer and level.
        sparsities: shares of zeros that pruned layers choose among; if not given those that leave 100, 90, 81, ... down to 1 %, and the
            one that the compression names.
        bits: that rounded layers choose among where bits are the price; 2 to 8 if not given.
        images: by which the divergence is judged; as many batches as have them.
        buckets: into how many parts the budget is divided where layers have more sums than that; of the sums in a part the one with
            the least cost is kept.

    Raises:
        ValueError: for values out of range, compressions without levels, or a budget that no levels keep to.

    Reference:
        Frantar, Alistarh, "SPDY: Accurate Pruning with Speedup Guarantees", ICML 2022, section 3.1, without its search for weights of
        layers; "Optimal Brain Compression", NeurIPS 2022, section 6, for levels that are computed once.

    Deviation:
        Sums keep their exact price, so that the budget is never exceeded and few layers are shared out exactly.
    """

    price: Price = "weights"
    cost: Cost = "error"
    sparsities: list[float] | None = None
    bits: list[int] | None = None
    images: int = 256
    buckets: int = 10_000

    def __post_init__(self) -> None:
        for name, value, known in (("price", self.price, get_args(Price)), ("cost", self.cost, get_args(Cost))):
            if value not in known:
                raise ValueError(f"budget.{name}={value!r} must be one of {', '.join(known)}")
        for name, count in (("images", self.images), ("buckets", self.buckets)):
            if count < 1:
                raise ValueError(f"budget.{name}={count} must be at least 1")
        for name, given in (("sparsities", self.sparsities), ("bits", self.bits)):
            if given is not None and not given:
                raise ValueError(f"budget.{name}=[] leaves no level; give some, or null for the usual ones")

    def levels(self, compressions: Sequence[Compression]) -> list[list[Compression]]:
        """For each compression the same at all strengths that layers choose among, from the weakest on.

        Raises:
            ValueError: if there is nothing to choose.
        """
        found = [self._strengths(compression) for compression in compressions]
        if max(map(len, found)) == 1:
            raise ValueError(
                f"budget.price={self.price} leaves layers nothing to choose: Unstructured and Blocks have shares of zeros, and with "
                "price=bits rounded weights have bits; give such a compression and several levels"
            )
        return found

    def _strengths(self, compression: Compression) -> list[Compression]:
        if isinstance(compression, Pruning) and isinstance(compression.pattern, Unstructured):
            if compression.pattern.across == "model":
                raise ValueError("across=model and a budget are two ways to share zeros out among layers; give one")
            sparsities = self.sparsities or [*usual_sparsities(), compression.pattern.sparsity]
            return [compression.at(sparsity) for sparsity in sorted(set(sparsities))]
        if isinstance(compression, Rounding) and self.price == "bits":
            return [compression.at(bits) for bits in sorted(set(self.bits or range(2, 9)), reverse=True)]
        return [compression]

    def check(self, prices: Iterable[Sequence[int]], limit: int) -> None:
        """Refuse a limit that the cheapest levels of all layers exceed.

        Raises:
            ValueError: saying what they come to.
        """
        least = sum(map(min, prices))
        if least > limit:
            also = "fewer bits or " if self.price == "bits" else ""
            raise ValueError(
                f"the budget is {limit:,} {self.price}, but the levels come to {least:,} at least; give {also}higher sparsities to choose "
                "among, or compressions that leave more"
            )


def usual_sparsities() -> list[float]:
    """Shares of zeros that leave 100, 90, 81, ... % of the weights, down to 1 %."""
    densities = [1.0]
    while densities[-1] * _STEP >= _LEAST:
        densities.append(densities[-1] * _STEP)
    return [1 - density for density in densities]


def cheapest(costs: Sequence[Sequence[float]], prices: Sequence[Sequence[int]], limit: int, buckets: int) -> list[int]:
    """Choose a level of each layer: of all choices whose prices sum up to no more than the limit, the one whose costs sum up to least.

    Of the sums over the first layers those are kept that cost less than all that are cheaper; that is exact as long as there are no more
    of them than buckets.

    Args:
        costs: of each layer's levels.
        prices: of each layer's levels, ≥ 0.
        limit: no less than the sum of the cheapest.
        buckets: most sums that are kept.
    """
    rest = [sum(min(of) for of in prices[layer + 1 :]) for layer in range(len(prices))]
    price, cost = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    steps = []
    for of_cost, of_price, still in zip(costs, prices, rest, strict=True):
        sums = (price[:, None] + torch.tensor(of_price, dtype=torch.float64)).flatten()
        total = (cost[:, None] + torch.tensor(of_cost, dtype=torch.float64)).flatten()
        order = (sums + still <= limit).nonzero().flatten()
        order = order[total[order].argsort(stable=True)]
        order = order[sums[order].argsort(stable=True)]  # by price, of one price by cost
        before = total[order].cummin(0).values.roll(1)
        before[0] = torch.inf
        order = order[total[order] < before]
        if len(order) > buckets:
            bucket = (sums[order] * (buckets / limit)).ceil()
            order = order[bucket != torch.cat([bucket[1:], bucket.new_tensor([-1.0])])]  # the last one of each
        steps.append((order // len(of_cost), order % len(of_cost)))
        price, cost = sums[order], total[order]
    place, chosen = len(price) - 1, []
    for came, level in reversed(steps):
        chosen.append(int(level[place]))
        place = int(came[place])
    return chosen[::-1]
