from itertools import chain, product

import pytest
import torch
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities.data import _update_dataloader
from torch.utils.data import DistributedSampler, SequentialSampler

from lightning_transfer.data import FakeData
from lightning_transfer.data.sampling import ExactBatches, ShuffledBatches


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


def shuffled(samples, size, replicas=1, rank=0, epoch=0, drop_last=False):
    sampler = DistributedSampler(range(samples), replicas, rank)
    sampler.set_epoch(epoch)
    return list(ShuffledBatches(sampler, size, drop_last))


@pytest.mark.parametrize(("samples", "drop_last"), [(24, True), (31, True), (24, False), (31, False)])
def test_processes_share_the_batches_of_one(samples, drop_last):
    one = shuffled(samples, 12, epoch=3, drop_last=drop_last)
    for replicas in (2, 3):
        ranks = [shuffled(samples, 12 // replicas, replicas, rank, 3, drop_last) for rank in range(replicas)]
        assert [list(chain(*parts)) for parts in zip(*ranks, strict=True)] == one
    assert len(one) == (2 if drop_last else -(-samples // 12))


def test_an_epoch_is_shuffled_by_seed_and_number(monkeypatch):
    def epoch(number):
        return [i - 50 * number for batch in shuffled(50, 7, epoch=number) for i in batch]

    assert sorted(epoch(0)) == sorted(epoch(1)) == list(range(50))
    assert epoch(0) != epoch(1) != list(range(50))
    first = epoch(1)
    torch.rand(3)  # what was drawn before changes nothing
    assert epoch(1) == first
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert epoch(1) != first


def test_says_that_processes_outnumber_samples():
    with pytest.raises(ValueError, match="2 training samples cannot be dealt to 3 processes"):
        shuffled(2, 4, 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_depends_on_epoch_and_image_alone(workers):
    def images(epoch, names=None):
        loader = data.train_dataloader()
        loader.batch_sampler.sampler.set_epoch(epoch)
        return {name: image for batch in loader for name, image in zip(batch.name, batch.image, strict=True)}

    data = FakeData(2, 8, batch_size=4, image_size=16, num_workers=workers, val_fraction=0, test_fraction=0)
    data.setup("fit")
    first, second, again = images(0), images(1), images(0)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], second[name]) for name in first)
    assert len(first) == 16


def test_augmentation_leaves_the_generator_as_it_was():
    data = FakeData(image_size=16, num_workers=0)
    data.setup("fit")
    before = torch.get_rng_state()
    data.train_set[0]
    assert torch.equal(torch.get_rng_state(), before)
