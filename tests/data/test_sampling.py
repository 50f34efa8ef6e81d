from itertools import product

import pytest
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities.data import _update_dataloader
from torch.utils.data import DistributedSampler, SequentialSampler

from lightning_transfer.data import FakeData
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


def test_refuses_to_drop_samples():
    with pytest.raises(ValueError, match="drop_last=True would leave samples out"):
        ExactBatches(SequentialSampler(range(5)), 2, drop_last=True)


@pytest.mark.parametrize("replicas", [2, 3])
def test_stays_exact_when_lightning_puts_its_sampler_in(replicas):
    data = FakeData(5, 13, batch_size=4, image_size=8, num_workers=0, test_fraction=0.5)
    data.setup("test")
    loader = data.test_dataloader()
    read = []
    for rank in range(replicas):
        sampler = DistributedSampler(loader.dataset, replicas, rank, shuffle=False)
        read.append([batch.name for batch in _update_dataloader(loader, sampler, RunningStage.TESTING)])
    assert len({len(batches) for batches in read}) == 1
    assert sorted(name for batches in read for batch in batches for name in batch) == sorted(
        data.splits()["test"].names
    )
