import pytest
import torch

from lightning_transfer.compression.calibration import CalibrationImages
from lightning_transfer.data import EvalTransform, FakeData


def fake(**options):
    return FakeData(image_size=32, num_workers=0, batch_size=8, **options)


def test_the_same_images_whenever_they_are_gone_through():
    torch.manual_seed(0)
    images = CalibrationImages(fake(), 20)
    first = [*images]
    torch.manual_seed(1)
    state = torch.get_rng_state()
    for one, other in zip(first, images, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())
    assert sum(map(len, first)) == 24


def test_the_same_images_in_every_process():
    torch.manual_seed(0)
    first = [*CalibrationImages(fake(), 8)]
    torch.manual_seed(1)  # as processes differ
    assert torch.equal(first[0], next(iter(CalibrationImages(fake(), 8))))


def test_few_images_come_round_in_other_versions_or_not_at_all():
    data = fake()
    count = len(data.splits()["train"].names)
    twice = torch.cat([*CalibrationImages(data, 2 * count)])
    assert len(twice) > count
    once = torch.cat([*CalibrationImages(fake(train_transform=EvalTransform), 2 * count)])
    assert len(once) <= count


def test_complaints():
    with pytest.raises(ValueError, match="images=0 must be at least 1"):
        CalibrationImages(fake(), 0)
