import pytest

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.data import DigitsData, FakeData, FolderData, ImageData


def test_reports_at_fit_start_once(capsys):
    data = FakeData(image_size=8)
    data.setup("fit")
    said = capsys.readouterr().out
    assert "FakeData: 4 classes" in said
    assert "class 3" in said
    data.setup("fit")
    assert "FakeData" not in capsys.readouterr().out


def test_predict_reads_one_file_or_says_what_is_missing(folder, tmp_path):
    path = folder(1) / "ant" / "0.png"
    data = DigitsData(predict_path=str(path), image_size=8, num_workers=0)
    data.setup("predict")
    assert [batch.name for batch in data.predict_dataloader()] == [[str(path)]]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        DigitsData(predict_path=str(tmp_path / "empty")).setup("predict")
    with pytest.raises(FileNotFoundError, match="neither a folder nor a file"):
        DigitsData(predict_path="gone").setup("predict")


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
