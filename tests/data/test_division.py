import pytest
import torch

from lightning_transfer.data import DigitsData, FakeData, ImageData
from lightning_transfer.data.sources import ArraySource


class Unbalanced(ImageData):
    """Class k has 4 * (k + 1) images."""

    @property
    def class_names(self):
        return [f"kind {k}" for k in range(30)]

    def sources(self):
        targets = torch.arange(30).repeat_interleave(4 * torch.arange(1, 31))
        return {"train": ArraySource(torch.zeros(len(targets), 1, 4, 4, dtype=torch.uint8), targets, "made")}


def names(data, split="train"):
    return set(data.splits()[split].names)


def test_few_labels_touch_training_only_and_are_nested():
    whole, five, ten = DigitsData(), DigitsData(labels_per_class=5), DigitsData(labels_per_class=10)
    assert names(five) < names(ten) < names(whole)
    for split in ("val", "test"):
        assert names(five, split) == names(whole, split)
    assert names(DigitsData(labels_per_class=5, split_seed=1)) != names(five)


def test_a_fraction_is_nested_and_keeps_every_class():
    tenth, half = Unbalanced(fraction=0.1), Unbalanced(fraction=0.5)
    assert names(tenth) < names(half)
    assert tenth.class_counts.min() == 1
    assert 0.45 < len(names(half)) / len(names(Unbalanced())) < 0.55


def test_small_classes_yield_their_share_together():
    sizes = {split: len(source) for split, source in Unbalanced(val_fraction=0.1, test_fraction=0.2).splits().items()}
    assert sizes == pytest.approx({"train": 1339, "val": 149, "test": 372}, abs=2)


def test_says_when_a_split_would_be_empty():
    with pytest.raises(ValueError, match=r"val_fraction=0\.005 of 51 images is none; raise it, or set it to 0"):
        FakeData(val_fraction=0.005).splits()
