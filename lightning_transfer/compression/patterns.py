"""Which weights may become zero: any, whole blocks of neighbours, or so many of each few."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from lightning_transfer.parts import Part


class Pattern(Part, ABC):
    """Where zeros may be. A unit is what becomes zero as a whole.

    Attributes:
        size: weights in a unit, neighbours in a row.
    """

    size: int = 1

    @abstractmethod
    def obstacle(self, weight: Tensor, channels: int) -> str | None:
        """Why weights (G, R, d) with so many neighbours at a place cannot have this pattern, or None if they can."""

    def at(self, sparsity: float) -> "Pattern":
        """The same with another share of zeros.

        Raises:
            ValueError: for a share out of range, or a pattern that has one alone.
        """
        if "sparsity" not in self.init_args:
            raise ValueError(f"{type(self).__name__} has one share of zeros; Unstructured and Blocks have any")
        made: Pattern = type(self)(**{**self.init_args, "sparsity": sparsity})
        return made

    @abstractmethod
    def counts(self, weights: Mapping[str, Tensor]) -> dict[str, int]:
        """How many units of each layer, given by its weights (G, R, d), become zero."""

    @abstractmethod
    def lowest(self, scores: Tensor, count: int) -> Tensor:
        """Choose the units to make zero by the lowest scores: (..., n) to a mask of that shape, true for zero."""


class Unstructured(Pattern):
    """Any weights.

    Args:
        sparsity: share of zeros, in [0, 1).
        across: whether every layer has this share, or all layers together, such that the weights least in magnitude are counted.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(self, sparsity: float, across: Literal["layer", "model"] = "layer") -> None:
        if not 0 <= sparsity < 1:
            raise ValueError(f"sparsity={sparsity} is a share of zeros and lies in [0, 1); 0.5 to 0.9 are common")
        if across not in ("layer", "model"):
            raise ValueError(f"across={across!r} must be layer or model")
        self.sparsity = sparsity
        self.across = across

    def obstacle(self, weight: Tensor, channels: int) -> str | None:
        return None

    def counts(self, weights: Mapping[str, Tensor]) -> dict[str, int]:
        sizes = {name: weight.numel() // self.size for name, weight in weights.items()}
        if self.across == "layer":
            return {name: round(self.sparsity * size) for name, size in sizes.items()}
        norms = [unit_norms(weight, self.size).flatten() for weight in weights.values()]
        chosen = self.lowest(torch.cat(norms), round(self.sparsity * sum(sizes.values())))
        parts = torch.split(chosen, [*sizes.values()])
        return {name: int(part.sum()) for name, part in zip(sizes, parts, strict=True)}

    def lowest(self, scores: Tensor, count: int) -> Tensor:
        mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
        mask[scores.flatten().argsort(stable=True)[:count]] = True
        return mask.view_as(scores)


class Blocks(Unstructured):
    """Blocks of neighbouring inputs: of channels at one place of a convolution's kernel.

    Args:
        sparsity: share of zeros, in [0, 1).
        size: weights in a block, at least 2.
        across: as for `Unstructured`.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(self, sparsity: float, size: int = 4, across: Literal["layer", "model"] = "layer") -> None:
        super().__init__(sparsity, across)
        if size < 2:
            raise ValueError(
                f"size={size} of Blocks must be at least 2; 4 is common. Single weights are Unstructured's"
            )
        self.size = size

    def obstacle(self, weight: Tensor, channels: int) -> str | None:
        return None if channels % self.size == 0 else f"{channels} input channels are no multiple of size={self.size}"


class NM(Pattern):
    """At most N weights other than zero among each M neighbours: 2 of 4 is what sparse tensor cores compute with.

    Args:
        n: weights that are kept, 1 ≤ n < m.
        m: neighbours in a group.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(self, n: int = 2, m: int = 4) -> None:
        if not 1 <= n < m:
            raise ValueError(f"n={n} of m={m} must be kept, with 1 <= n < m; 2 of 4 and 4 of 8 are common")
        self.n = n
        self.m = m

    def obstacle(self, weight: Tensor, channels: int) -> str | None:
        return None if channels % self.m == 0 else f"{channels} input channels are no multiple of m={self.m}"

    def counts(self, weights: Mapping[str, Tensor]) -> dict[str, int]:
        return {name: weight.numel() // self.m * (self.m - self.n) for name, weight in weights.items()}

    def lowest(self, scores: Tensor, count: int) -> Tensor:
        grouped = torch.unflatten(scores, -1, (-1, self.m))
        first = grouped.argsort(dim=-1, stable=True)[..., : self.m - self.n]
        return torch.zeros_like(grouped, dtype=torch.bool).scatter_(-1, first, True).flatten(-2)


def unit_norms(weight: Tensor, size: int) -> Tensor:
    """Euclidean norm of each unit: (..., d) to (..., n)."""
    return weight.abs() if size == 1 else torch.unflatten(weight, -1, (-1, size)).norm(dim=-1)
