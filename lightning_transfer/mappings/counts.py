"""How often, or how surely, a network sees its own classes in images of the targets'."""

import torch
from torch import Tensor
from torch.distributed import all_reduce, is_available, is_initialized


class Counts:
    """A table of sources and targets that each process fills for itself.

    It is no buffer: those of rank 0 are sent to all other processes at each step, which would lose what these have counted.

    Args:
        num_source: S.
        num_classes: K.
        dtype: of the table.
    """

    def __init__(self, num_source: int, num_classes: int, dtype: torch.dtype = torch.int64) -> None:
        self.shape = num_source, num_classes
        self.dtype = dtype
        self.table: Tensor | None = None

    def add(self, sources: Tensor, target: Tensor, amount: Tensor) -> None:
        """Add to the entries of some sources and the target of each image; unknown targets, below 0, count nothing.

        Args:
            sources: (B, N) int64.
            target: (B,) int64.
            amount: (B, N).

        Raises:
            ValueError: for targets that are not one class an image.
        """
        if target.ndim != 1 or target.is_floating_point():
            raise ValueError(
                f"a mapping that counts takes one class an image, but the targets are {tuple(target.shape)} {target.dtype}, of "
                "several labels or mixed images; SemanticMapping and LinearMapping take those"
            )
        if self.table is None:
            self.table = torch.zeros(self.shape, dtype=self.dtype, device=sources.device)
        target = target.unsqueeze(1).expand_as(sources)
        amount = torch.where(target < 0, 0, amount).to(self.dtype)
        self.table.index_put_((sources, target.clamp(min=0)), amount, accumulate=True)

    def take(self, device: torch.device) -> Tensor | None:
        """Sum over all processes, and start anew.

        Args:
            device: of the result, which the processes' backend must take.

        Returns:
            (S, K), or nothing if nothing was counted
        """
        empty = self.table is None
        total = torch.zeros(self.shape, dtype=self.dtype, device=device) if empty else self.table.to(device)  # type: ignore[union-attr]
        self.table = None
        if is_available() and is_initialized():
            all_reduce(total)
        return total if bool(total.any()) else None
