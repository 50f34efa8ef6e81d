import gc
from pathlib import Path

import pytest
import torch
from PIL import Image

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.data import DigitsData, FakeData, FolderData, ImageData
from lightning_transfer.data.sources import ArraySource


class Unbalanced(ImageData):
    """Class k has 4 * (k + 1) images."""

    @property
    def class_names(self):
        return [f"kind {k}" for k in range(30)]

    def sources(self):
        targets = torch.arange(30).repeat_interleave(4 * torch.arange(1, 31))
        return {"train": ArraySource(torch.zeros(len(targets), 1, 4, 4, dtype=torch.uint8), targets, "made")}


def folder(root, count):
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(root / name / f"{i}.png")
    return root


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


def test_without_validation_the_loader_is_an_empty_list():
    data = FakeData(val_fraction=0, image_size=8, num_workers=0)
    data.setup("fit")
    assert data.val_dataloader() == []
    with pytest.raises(ValueError, match="no val split"):
        data.setup("validate")


@pytest.mark.parametrize(("batch_size", "sizes"), [(32, [32, 32]), (65, [65]), (100, [65])])
def test_drops_a_last_batch_only_beside_others(batch_size, sizes):
    data = FakeData(5, 13, batch_size=batch_size, val_fraction=0, test_fraction=0, image_size=8, num_workers=0)
    data.setup("fit")
    assert [len(batch.target) for batch in data.train_dataloader()] == sizes


def test_evaluation_reads_every_image_in_order():
    data = FakeData(batch_size=5, image_size=8, num_workers=0)
    data.setup("test")
    read = [name for batch in data.test_dataloader() for name in batch.name]
    assert read == list(data.splits()["test"].names)


def test_reports_at_fit_start_once(capsys):
    data = FakeData(image_size=8)
    data.setup("fit")
    said = capsys.readouterr().out
    assert "FakeData: 4 classes" in said
    assert "class 3" in said
    data.setup("fit")
    assert "FakeData" not in capsys.readouterr().out


def test_summary_of_many_classes_gives_the_range(capsys):
    data = Unbalanced(val_fraction=0, test_fraction=0)
    data.setup("fit")
    assert "4 to 120, median 60" in capsys.readouterr().out


def test_skipped_files_are_told_once_and_stay_listed(tmp_path):
    (folder(tmp_path / "x", 5) / "ant" / "3.png").write_text("broken")
    data = FolderData(
        str(tmp_path / "x"),
        on_error="skip",
        val_fraction=0,
        test_fraction=0,
        batch_size=10,
        image_size=8,
        num_workers=0,
    )
    data.setup("fit")
    for _ in range(2):
        assert [len(batch.target) for batch in data.train_dataloader()] == [9]
    with pytest.warns(UserWarning, match="1 unreadable images were left out"):
        data.teardown("fit")
    data.teardown("fit")  # warnings are errors here: it must not warn again
    (reason,) = data.skipped
    assert reason.startswith(str(tmp_path / "x" / "ant" / "3.png"))
    log = Path(data._log.path)
    assert log.exists()
    del data
    gc.collect()
    assert not log.exists()


def test_a_batch_of_broken_files_is_an_error(tmp_path):
    root = folder(tmp_path / "x", 2)
    for path in root.rglob("*.png"):
        path.write_text("broken")
    data = FolderData(str(root), on_error="skip", val_fraction=0, test_fraction=0, image_size=8, num_workers=0)
    data.setup("fit")
    with pytest.raises(ValueError, match="none of the 4 images of a batch could be read"):
        next(iter(data.train_dataloader()))


def test_predict_reads_one_file_or_says_what_is_missing(tmp_path):
    path = folder(tmp_path / "x", 1) / "ant" / "0.png"
    data = DigitsData(predict_path=str(path), image_size=8, num_workers=0)
    data.setup("predict")
    assert [batch.name for batch in data.predict_dataloader()] == [[str(path)]]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        DigitsData(predict_path=str(tmp_path / "empty")).setup("predict")
    with pytest.raises(FileNotFoundError, match="neither a folder nor a file"):
        DigitsData(predict_path="gone").setup("predict")


def test_predict_without_a_path_reads_the_test_split():
    data = FakeData(image_size=8, num_workers=0)
    data.setup("predict")
    read = [name for batch in data.predict_dataloader() for name in batch.name]
    assert read == list(data.splits()["test"].names)


def test_workers_follow_the_cache():
    assert FakeData(cache=True).num_workers == 0
    assert 1 <= FakeData().num_workers <= 8
    with pytest.raises(ValueError, match="num_workers=-1"):
        FakeData(num_workers=-1)


def test_comes_back_from_a_checkpoint_for_a_new_run(trainer):
    run = trainer(max_epochs=2, limit_train_batches=1)
    run.fit(FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 5), FakeData(5, image_size=32, num_workers=0))
    run.save_checkpoint("x.ckpt")
    data = ImageData.load_from_checkpoint("x.ckpt", batch_size=7)
    assert (type(data), data.num_classes, data.batch_size) == (FakeData, 5, 7)
    data.setup("fit")
    first, second = ([batch.name for batch in data.train_dataloader()] for _ in range(2))
    assert first == second
    with pytest.raises(ValueError, match="was not trained on a datamodule of images"):
        FolderData.load_from_checkpoint("x.ckpt")
