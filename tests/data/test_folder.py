import pytest
from PIL import Image

from lightning_transfer.data import FolderData


def fill(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / name)
    return str(root)


def test_deeper_folders_count_for_the_class_above_them(tmp_path):
    data = FolderData(fill(tmp_path, "bee/1.png", "ant/a/b/2.png", "ant/3.png", "ant/.cache/4.png"))
    assert data.class_names == ["ant", "bee"]
    assert data.sources()["train"].targets.tolist() == [0, 0, 1]


def test_missing_splits_are_taken_from_training(tmp_path):
    root = fill(tmp_path, *(f"{split}/{k}/{i}.png" for split in ("train", "valid") for k in "ab" for i in range(5)))
    splits = FolderData(root).splits()
    assert {name: len(source) for name, source in splits.items()} == {"train": 8, "val": 10, "test": 2}
    assert all("/valid/" in name for name in splits["val"].names)


def test_a_test_folder_alone_can_be_tested_but_not_trained_on(tmp_path):
    data = FolderData(fill(tmp_path, "test/a/0.png", "test/b/0.png"), num_workers=0, image_size=8)
    data.setup("test")
    assert [len(batch.target) for batch in data.test_dataloader()] == [2]
    with pytest.raises(ValueError, match="no train split"):
        data.setup("fit")


def test_splits_must_agree_on_the_classes(tmp_path):
    root = fill(tmp_path, "train/a/0.png", "train/b/0.png", "val/a/0.png", "val/c/0.png")
    with pytest.raises(ValueError, match=r"do not hold the same classes: val differs in \['b', 'c'\]"):
        FolderData(root).splits()


def test_a_class_that_is_named_like_a_split_is_not_mistaken_for_one(tmp_path):
    with pytest.raises(
        ValueError, match="holds test beside control: put the training classes into a folder named train"
    ):
        FolderData(fill(tmp_path, "test/0.png", "control/0.png")).splits()
