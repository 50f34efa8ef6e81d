import csv

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from lightning_transfer.data import (
    CsvData,
    DigitsData,
    EmojiData,
    EvalTransform,
    FakeData,
    FolderData,
    StampsData,
    TorchvisionData,
)


def make_folder(root, per_class=6, splits=("",), classes=("ant", "bee")):
    for split in splits:
        for k, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(per_class):
                Image.new("RGB", (20, 16), (100 * k, 40 * i, 0)).save(folder / f"{i}.png")
    return root


def batches(loader):
    return list(loader)


@pytest.mark.parametrize("make", [FakeData, DigitsData, lambda **k: FolderData(str(k.pop("root")), **k)])
def test_batches_are_images_in_unit_range(tmp_path, make):
    if not isinstance(make, type):
        data = make(root=make_folder(tmp_path / "x"), image_size=24, batch_size=4, num_workers=0)
    else:
        data = make(image_size=24, batch_size=4, num_workers=0)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.image.shape == (4, 3, 24, 24)
    assert batch.image.dtype == torch.float32
    assert batch.image.min() >= 0
    assert 0 < batch.image.max() <= 1
    assert len(batch.name) == 4
    assert batch.target.max() < data.num_classes


def test_any_transform_ends_in_unit_range():
    data = FakeData(image_size=8, num_workers=0, eval_transform=lambda size: v2.Resize((size, size)))
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    assert batch.image.shape[-2:] == (8, 8)
    assert batch.image.max() <= 1


def test_splits_are_the_same_for_every_stage_and_apart():
    first, second = DigitsData(labels_per_class=10), DigitsData(labels_per_class=10)
    names = {split: set(source.names) for split, source in first.splits().items()}
    second.setup("test")
    assert {split: set(source.names) for split, source in second.splits().items()} == names
    assert not names["train"] & names["test"]
    assert not names["val"] & names["test"]
    assert first.class_counts.tolist() == [10] * 10


def test_cached_equals_uncached():
    plain, cached = (FakeData(cache=cache, num_workers=0, image_size=16) for cache in (False, True))
    for data in (plain, cached):
        data.setup("test")
    for _ in range(2):
        assert torch.equal(batches(plain.test_dataloader())[0].image, batches(cached.test_dataloader())[0].image)


def test_folder_with_given_splits_and_one_without(tmp_path):
    data = FolderData(str(make_folder(tmp_path, splits=("train", "val", "test"))))
    assert {k: len(v) for k, v in data.splits().items()} == {"train": 12, "val": 12, "test": 12}
    assert data.class_names == ["ant", "bee"]


def test_folder_complaints(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data\.root='nowhere' is no folder"):
        FolderData("nowhere").splits()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no folders"):
        FolderData(str(tmp_path / "empty")).splits()
    root = make_folder(tmp_path / "x")
    (root / "cat").mkdir()
    with pytest.raises(ValueError, match=r"without images.*cat"):
        FolderData(str(root)).splits()


@pytest.mark.parametrize("workers", [0, 2])
def test_skips_unreadable_files_and_lists_them(tmp_path, workers):
    root = make_folder(tmp_path / "x", splits=("train", "val", "test"))
    (root / "train" / "ant" / "0.png").write_text("broken")
    (root / "train" / "bee" / "1.png").write_bytes(b"")
    data = FolderData(str(root), on_error="skip", num_workers=workers, batch_size=12, image_size=8)
    data.setup("fit")
    assert sum(len(batch.target) for batch in data.train_dataloader()) == 10
    assert len(data.skipped) == 2
    with pytest.warns(UserWarning, match=r"2 unreadable images were left out(.|\n)*0\.png"):
        data.teardown("fit")


@pytest.mark.parametrize("cache", [False, True])
def test_raises_for_an_unreadable_file(tmp_path, cache):
    root = make_folder(tmp_path / "x")
    (root / "ant" / "0.png").write_text("broken")
    data = FolderData(str(root), num_workers=0, cache=cache, val_fraction=0, test_fraction=0, image_size=8)
    data.setup("fit")
    with pytest.raises(ValueError, match=r"0\.png cannot be read as an image.*on_error=skip"):
        batches(data.train_dataloader())


def write_csv(path, rows, header=("path", "label")):
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def test_csv_with_one_and_with_several_labels(tmp_path):
    make_folder(tmp_path)
    single = CsvData(write_csv(tmp_path / "a.csv", [("ant/0.png", "x, y"), ("bee/0.png", "z"), ("bee/1.png", "z")]))
    assert single.class_names == ["x, y", "z"]
    assert single.sources()["train"].targets.tolist() == [0, 1, 1]
    several = CsvData(
        write_csv(tmp_path / "b.csv", [("ant/0.png", "x|y"), ("bee/0.png", ""), ("ant/1.png", "y")]), separator="|"
    )
    assert several.task == "multi_label"
    assert several.sources()["train"].targets.tolist() == [[1, 1], [0, 0], [0, 1]]


def test_csv_complaints(tmp_path):
    make_folder(tmp_path)
    with pytest.raises(ValueError, match=r"no column 'label', but \['path', 'kind'\].*data\.label_column"):
        CsvData(write_csv(tmp_path / "a.csv", [("ant/0.png", "x")], ("path", "kind"))).sources()
    with pytest.raises(FileNotFoundError, match=r"2 images that do not exist.*nope\.png"):
        CsvData(write_csv(tmp_path / "b.csv", [("nope.png", "x"), ("no.png", "y"), ("ant/0.png", "y")])).sources()
    with pytest.raises(ValueError, match="'trian' is none of train, val, test"):
        CsvData(write_csv(tmp_path / "c.csv", [("ant/0.png", "x", "trian")], ("path", "label", "split"))).sources()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels_per_class": 0}, "labels_per_class=0"),
        ({"fraction": 1.5}, "fraction=1.5"),
        ({"fraction": 0.5, "labels_per_class": 3}, "two ways to say one thing"),
        ({"val_fraction": 1.0}, "val_fraction=1.0"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
    ],
)
def test_values_out_of_range_get_a_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        FakeData(**arguments)


def test_predict_reads_a_folder_without_training_data(tmp_path):
    make_folder(tmp_path / "x", per_class=2)
    data = FolderData("nowhere", predict_path=str(tmp_path / "x"), num_workers=0, image_size=8)
    data.setup("predict")
    (batch,) = batches(data.predict_dataloader())
    assert batch.target.tolist() == [-1] * 4
    assert batch.name[0].endswith("0.png")


def test_hyperparameters_are_plain_data():
    hparams = DigitsData(image_size=32, train_transform=EvalTransform).hparams
    assert hparams["image_size"] == 32
    assert hparams["train_transform"] == {
        "class_path": "lightning_transfer.data.transforms.EvalTransform",
        "init_args": {},
    }


def test_emoji_hold_out_concepts_for_both_vendors(data_root):
    data = EmojiData(vendor="google", test_vendor="twitter", image_size=32)
    splits = data.splits()
    concepts = {name: set(source.groups) for name, source in splits.items()}
    assert not concepts["train"] & concepts["test"]
    assert splits["test"].names[0].startswith("emoji/twitter")
    assert splits["train"].image(0).shape == (3, 64, 64)


def test_stamps_keep_captions_together(data_root):
    splits = StampsData(image_size=32).splits()
    captions = {name: set(source.groups) for name, source in splits.items()}
    assert not captions["train"] & captions["test"]
    assert len(splits["test"]) > 50


def test_mnist_through_torchvision(data_root):
    data = TorchvisionData("torchvision.datasets.MNIST", labels_per_class=3, image_size=28, num_workers=0)
    assert data.num_classes == 10
    assert len(data.splits()["test"]) == 10_000
    data.setup("fit")
    assert next(iter(data.train_dataloader())).image.shape == (30, 3, 28, 28)


def test_torchvision_complaints(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"MNIST is not in .*data\.download=true"):
        TorchvisionData("torchvision.datasets.MNIST", root=str(tmp_path)).splits()
    with pytest.raises(ValueError, match="neither train nor split"):
        TorchvisionData("torchvision.datasets.ImageFolder", root=str(tmp_path)).splits()
