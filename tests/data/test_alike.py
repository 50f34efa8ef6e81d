from functools import partial

import pytest

from lightning_transfer.data import EvalTransform, FakeData, FolderData, TrainTransform
from lightning_transfer.data.alike import require_same_images


def compared(*data, split="test"):
    require_same_images({str(i): one for i, one in enumerate(data)}, split)


def test_what_only_training_sees_may_differ():
    other = FakeData(
        batch_size=5, num_workers=0, cache=True, train_transform=TrainTransform, fraction=0.5, on_error="skip"
    )
    compared(FakeData(), other)
    compared(FakeData(), other, split="val")
    with pytest.raises(ValueError, match="fraction=None, 1 with fraction=0.5"):
        compared(FakeData(), other, split="train")


def test_a_default_is_as_good_as_the_same_value_given():
    compared(
        FakeData(), FakeData(4, val_fraction=0.1, image_size=224, eval_transform=partial(EvalTransform, crop=0.875))
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"test_fraction": 0.3}, "0 was trained on data with test_fraction=0.2, 2 with test_fraction=0.3"),
        ({"pixels": 8}, "pixels=32, 2 with pixels=8"),
        ({"split_seed": 1}, "split_seed=0, 2 with split_seed=1"),
        ({"eval_transform": partial(EvalTransform, crop=1.0)}, "eval_transform="),
    ],
)
def test_what_changes_the_images_may_not(options, said):
    with pytest.raises(ValueError, match=said):
        compared(FakeData(), FakeData(), FakeData(**options))


def test_of_another_class():
    with pytest.raises(ValueError, match="class='FakeData', 1 with class='FolderData'"):
        compared(FakeData(), FolderData("photos"))
