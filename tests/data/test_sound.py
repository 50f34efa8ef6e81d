import csv

import pytest
import torch

from lightning_transfer.data import (
    LogMel,
    SpecAugment,
    SpokenDigitsData,
    SpokenStampsData,
    StampsData,
    TorchvisionData,
    WholeTransform,
)
from lightning_transfer.data.recordings import SoundSource


@pytest.fixture
def digits(tmp_path):
    """Two recordings of each digit in each split: the digit is the pitch."""
    soundfile = pytest.importorskip("soundfile")
    rows = []
    for split in ("train", "val", "test"):
        for digit in range(10):
            for take in range(2):
                time = torch.arange(8000) / 16000
                wave = torch.sin(6.28318 * (300 + 300 * digit) * time) + 0.01 * torch.randn(8000)
                name = f"{split}_{digit}_{take}.wav"
                soundfile.write(tmp_path / name, wave.numpy() / 2, 16000)
                rows.append((name, digit, split))
    with (tmp_path / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("audio", "digit", "split"), *rows])
    return tmp_path


def data(root, **options):
    return SpokenDigitsData(str(root), **{"image_size": 32, "num_workers": 0, **options})


def test_recordings_are_images_like_others(digits):
    made = data(digits, batch_size=20)
    made.setup("fit")
    batch = next(iter(made.train_dataloader()))
    assert batch.image.shape == (20, 3, 32, 32)
    assert 0 <= batch.image.min() < 0.1 < 0.9 < batch.image.max() <= 1
    made.setup("test")
    tested = next(iter(made.test_dataloader()))
    heights = tested.image[:, 0].mean(dim=2).argmax(dim=1)
    order = [heights[tested.target == k].float().mean().item() for k in range(10)]
    assert order == sorted(order, reverse=True)  # higher is further up
    assert {split: len(source) for split, source in made.splits().items()} == {"train": 20, "val": 20, "test": 20}


def test_defaults_suit_sound_and_come_back_as_plain_data(digits):
    made = data(digits, spectrogram=LogMel(bands=40))
    assert (type(made.train_transform(8)), type(made.eval_transform(8))) == (SpecAugment, WholeTransform)
    assert made.hparams["spectrogram"]["init_args"]["bands"] == 40
    given = data(digits, train_transform=WholeTransform).hparams
    assert given["train_transform"]["class_path"].endswith("WholeTransform")


def test_cached_equals_uncached_and_augmentation_follows_seed_and_epoch(digits, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    plain, cached = data(digits), data(digits, cache=True)
    for made in (plain, cached):
        made.setup("fit")
    for number in (3, 3 + 20, 3):
        assert torch.equal(plain.train_set[number][0], cached.train_set[number][0])
    assert not torch.equal(plain.train_set[3][0], plain.train_set[23][0])


def test_predicts_a_folder_or_a_file_of_recordings(digits, tmp_path):
    made = data(digits, predict_path=str(digits))
    made.setup("predict")
    assert sum(len(batch.image) for batch in made.predict_dataloader()) == 60
    made = data(digits, predict_path=str(digits / "val_3_0.wav"))
    made.setup("predict")
    assert next(iter(made.predict_dataloader())).target.tolist() == [-1]
    (tmp_path / "empty").mkdir()
    for path, message in ((tmp_path / "empty", r"holds no recordings \(.ogg"), ("gone", "neither a folder nor a file")):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            data(digits, predict_path=str(path)).setup("predict")


def test_a_set_that_is_not_there_gets_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="scripts/data/spoken_digits.py. makes it"):
        data(tmp_path).splits()


def test_spoken_digits_have_voices_of_their_own_in_each_split_and_pair_with_pictures_of_the_same_digit(data_root):
    pytest.importorskip("soundfile")
    pictures = TorchvisionData("torchvision.datasets.MNIST", image_size=28)
    made = SpokenDigitsData(image_size=32, num_workers=0, same_class={"picture": pictures})
    made.setup("fit")
    sources = made.splits()
    voices = {split: {name.split("/")[-2] for name in source.names} for split, source in sources.items()}
    assert not voices["train"] & voices["test"]
    assert not voices["train"] & voices["val"]
    companion = made.train_set.companions["picture"]
    for index in range(0, len(made.train_set), 40):
        row = companion.row(index)
        assert companion.source.targets[row] == sources["train"].targets[index]
        assert f"/{sources['train'].targets[index]}_" in sources["train"].names[index]
    *_, modalities, _ = made.train_set[0]
    assert modalities["picture"].shape == (3, 28, 28)


def test_spoken_stamps_are_split_like_stamps_and_bring_their_picture(data_root):
    pytest.importorskip("soundfile")
    made = SpokenStampsData(image_size=32, num_workers=0, picture_size=48, split_seed=2)
    plain = StampsData(split_seed=2)
    assert made.class_names == plain.class_names
    for split, source in made.splits().items():
        assert isinstance(source, SoundSource)
        assert set(source.others["picture"].names) <= set(plain.splits()[split].names)
        for spoken, picture in zip(source.names, source.others["picture"].names, strict=True):
            assert spoken.split("/fr/")[1].rpartition(".")[0] == picture.rpartition("/")[2].rpartition(".")[0]
    captions = {split: set(source.groups) for split, source in made.splits().items()}
    assert not captions["train"] & captions["test"]
    assert 0 < sum(map(len, made.splits().values())) < sum(map(len, plain.splits().values()))
    made.setup("fit")
    assert made.train_set.example().modalities["picture"].shape == (1, 3, 48, 48)
    assert made.train_set.source.image(0).shape[-1] == 251  # 2.5 seconds


def test_a_language_or_speech_that_is_not_there_gets_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="data.language='de' must be one of fr, es, ro, ru"):
        SpokenStampsData(language="de")
    (tmp_path / "index.csv").write_text("image,category,caption\n" + "a.jpg,x,y\n" * 30)
    with pytest.raises(ValueError, match="has no speech_fr; .*stamps.py --speech"):
        SpokenStampsData(str(tmp_path)).splits()
