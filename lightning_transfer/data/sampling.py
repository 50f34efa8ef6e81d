"""Evaluation over several processes in which every sample counts once."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import BatchSampler, DistributedSampler


class ExactBatches(BatchSampler):
    """Batches in the data's order; over R processes every sample once, and as many batches for each.

    `DistributedSampler` repeats samples to fill up, which bends the metrics; unequal numbers of batches would leave
    processes waiting for one another. So N samples are cut into R x n nearly equal batches, n being the least number
    that keeps to the batch size.

    Args:
        sampler: of the data; a `DistributedSampler`, which Lightning puts in, gives only number and rank of processes.
        batch_size: largest number of samples in a batch.
        drop_last: must be false.

    Raises:
        ValueError: if there are fewer samples than batches to make, or for drop_last.
    """

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool = False) -> None:
        super().__init__(sampler, batch_size, drop_last)
        if drop_last:
            raise ValueError("drop_last=True would leave samples out of the metrics; ExactBatches takes only False")
        self.distributed = isinstance(sampler, DistributedSampler)
        if not self.distributed:
            return
        self.samples = len(sampler.dataset)
        self.replicas, self.rank = sampler.num_replicas, sampler.rank
        self.count = -(-self.samples // (self.replicas * batch_size))
        if self.samples < self.replicas * self.count:
            raise ValueError(
                f"{self.samples} samples cannot be dealt to {self.replicas} processes in {self.count} batches each; "
                "use fewer devices, a larger batch_size or more data"
            )

    def __iter__(self) -> Iterator[list[int]]:
        if not self.distributed:
            yield from super().__iter__()
            return
        chunks = self.replicas * self.count
        for step in range(self.count):
            chunk = step * self.replicas + self.rank
            yield list(range(chunk * self.samples // chunks, (chunk + 1) * self.samples // chunks))

    def __len__(self) -> int:
        return self.count if self.distributed else super().__len__()
