import pytest

from lightning_transfer.data import FakeData, FolderData


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


def test_a_batch_of_broken_files_is_an_error(folder):
    root = folder(2)
    for path in root.rglob("*.png"):
        path.write_text("broken")
    data = FolderData(str(root), on_error="skip", val_fraction=0, test_fraction=0, image_size=8, num_workers=0)
    data.setup("fit")
    with pytest.raises(ValueError, match="none of the 4 images of a batch could be read"):
        next(iter(data.train_dataloader()))


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
