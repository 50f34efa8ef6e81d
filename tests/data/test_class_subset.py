import pytest
import torch

from lightning_transfer.data import ClassSubsetData, FakeData
from lightning_transfer.data.class_subset import find_classes


def fake(**options):
    return FakeData(num_classes=5, image_size=16, batch_size=4, num_workers=0, val_fraction=0.25, **options)


def test_splits_are_those_of_the_data_without_the_other_classes():
    data = fake()
    subset = ClassSubsetData(data, ["class 3", 1])
    assert subset.class_names == ["class 1", "class 3"]
    assert subset.num_classes == 2
    assert (subset.image_size, subset.batch_size) == (16, 4)
    for name, source in data.splits().items():
        pairs = zip(source.names, source.targets.tolist(), strict=True)
        expected = [(image, {1: 0, 3: 1}[k]) for image, k in pairs if k in (1, 3)]
        found = subset.splits()[name]
        assert [*zip(found.names, found.targets.tolist(), strict=True)] == expected
        assert found.captions[0] == f"a picture of {subset.class_names[expected[0][1]]}"


def test_images_are_prepared_as_in_the_data():
    data = fake(corruptions=None, labels_per_class=2)
    subset = ClassSubsetData(data, [0, 4])
    for each in (data, subset):
        each.prepare_data()
        each.setup("test")
    whole = {
        name: image for batch in data.test_dataloader() for name, image in zip(batch.name, batch.image, strict=True)
    }
    for batch in subset.test_dataloader():
        assert all(torch.equal(whole[name], image) for name, image in zip(batch.name, batch.image, strict=True))
    subset.setup("fit")
    assert len(subset.train_set) == 4
    assert subset.class_counts.tolist() == [2, 2]


def test_test_sets_and_companions_are_narrowed_too():
    data = fake(test_sets={"other": fake(split_seed=1)}, same_class={"twin": fake()})
    subset = ClassSubsetData(data, [2, 3])
    subset.setup("test")
    assert {*subset.test_dataloader()} == {"test", "other"}
    subset.setup("fit")
    batch = next(iter(subset.train_dataloader()))
    assert batch.target.max() < 2
    assert batch.modalities["twin"].shape == batch.image.shape


def test_a_name_wins_over_a_number():
    names = ["1", "0", "cat"]
    assert find_classes([0, "cat"], names) == [1, 2]
    assert find_classes(["2", 1], names) == [0, 2]


def test_is_rebuilt_from_plain_data():
    from lightning_transfer.checkpoint import rebuild

    made = rebuild(dict(ClassSubsetData(fake(), [0, "class 2"]).hparams))
    assert made.class_names == ["class 0", "class 2"]
    assert made.data.init_args["num_classes"] == 5


def test_predicts_what_it_is_given(tmp_path):
    from PIL import Image

    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    subset = ClassSubsetData(fake(), [0, 1], predict_path=str(tmp_path))
    subset.setup("predict")
    assert len(next(iter(subset.predict_dataloader())).image) == 1


def test_complaints():
    for classes, said in (
        ([0], "leaves nothing to tell apart"),
        ([0, "dog"], "classes holds 'dog', which is no class of the data; its 5 classes are class 0"),
        ([0, 9], "classes holds '9', which is no class"),
        ([0, "class 0"], "classes holds 'class 0' twice"),
    ):
        with pytest.raises(ValueError, match=said):
            ClassSubsetData(fake(), classes)
