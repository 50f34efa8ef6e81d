"""Batches: shuffled by seed and epoch alone for training, every sample once for evaluation, over any number of processes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import BatchSampler, DistributedSampler

from lightning_transfer.seeds import derived_seed, run_seed


class ShuffledBatches(BatchSampler):
    """Shuffled batches that depend on seed and epoch alone; R processes share each batch that one would have.

    A resumed training so meets the batches that it would have met, and several processes train like one. What is yielded
    is epoch x N + index: the data set draws its augmentations by that number.

    Args:
        sampler: a `DistributedSampler` of the data, Lightning's or one of a single process; it gives epoch, number and rank of processes.
        batch_size: samples in a batch of one process.
        drop_last: whether a last batch that is not full is left out.
        first_epoch: of this loader; Lightning tells the sampler only after the workers of a resumed training got their first batches.

    Raises:
        ValueError: if there are fewer samples than processes.
    """

    sampler: Any

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool = False, first_epoch: int = 0) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.first_epoch = first_epoch
        self.seed = run_seed()
        self.samples: int = len(sampler.dataset)
        self.whole: int = batch_size * sampler.num_replicas
        if self.samples < sampler.num_replicas:
            raise ValueError(
                f"{self.samples} training samples cannot be dealt to {sampler.num_replicas} processes; use fewer"
            )

    def __iter__(self) -> Iterator[list[int]]:
        epoch = max(self.sampler.epoch, self.first_epoch)
        generator = torch.Generator().manual_seed(derived_seed(self.seed, epoch))
        order = epoch * self.samples + torch.randperm(self.samples, generator=generator)
        for batch in order.split(self.whole)[: len(self)]:
            yield batch.tensor_split(self.sampler.num_replicas)[self.sampler.rank].tolist()

    def __len__(self) -> int:
        return self.samples // self.whole if self.drop_last else -(-self.samples // self.whole)


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
