from itertools import product

import pytest
from torch.utils.data import DistributedSampler, SequentialSampler

from lightning_transfer.data.sampling import ExactBatches


@pytest.mark.parametrize(("samples", "size"), list(product([8, 17, 33, 65, 100], [1, 2, 7, 32])))
def test_over_processes_every_sample_once_and_batches_alike(samples, size):
    for replicas in (1, 2, 3, 4):
        ranks = []
        for rank in range(replicas):
            sampler = DistributedSampler(range(samples), replicas, rank, shuffle=False)
            chunks = replicas * -(-samples // (replicas * size))
            if samples < chunks:
                with pytest.raises(ValueError, match="fewer devices"):
                    ExactBatches(sampler, size)
                break
            batches = ExactBatches(sampler, size)
            assert len(batches) == len(list(batches))
            ranks.append(list(batches))
        if ranks:
            assert len({len(batches) for batches in ranks}) == 1
            assert sorted(i for batches in ranks for batch in batches for i in batch) == list(range(samples))
            assert all(1 <= len(batch) <= size for batches in ranks for batch in batches)


def test_in_one_process_is_plain():
    assert list(ExactBatches(SequentialSampler(range(5)), 2)) == [[0, 1], [2, 3], [4]]
