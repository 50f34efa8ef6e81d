import struct

import pytest
import torch
from PIL import Image

from lightning_transfer.data import TorchvisionData


def write_idx(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + bytes(values.flatten().tolist())
    )


@pytest.fixture
def digits(tmp_path):
    """Files of MNIST and of EMNIST's digits in their own layout: 20 images for training, 10 for the test, filled with their number."""
    for folder, prefixes in (("MNIST", ("train", "t10k")), ("EMNIST", ("emnist-digits-train", "emnist-digits-test"))):
        for prefix, count in zip(prefixes, (20, 10), strict=True):
            raw = tmp_path / folder / "raw"
            images = torch.arange(count, dtype=torch.uint8)[:, None, None].repeat(1, 28, 28)
            write_idx(raw / f"{prefix}-images-idx3-ubyte", images)
            write_idx(raw / f"{prefix}-labels-idx1-ubyte", torch.arange(count, dtype=torch.uint8) % 10)
    return str(tmp_path)


@pytest.mark.parametrize(("name", "options"), [("MNIST", None), ("EMNIST", {"split": "digits"})])
def test_sets_with_a_train_flag(digits, name, options):
    data = TorchvisionData(f"torchvision.datasets.{name}", digits, options=options, val_fraction=0.2)
    splits = data.splits()
    assert data.num_classes == 10
    assert {split: len(source) for split, source in splits.items()} == {"train": 16, "val": 4, "test": 10}
    assert splits["test"].targets.tolist() == list(range(10))
    assert splits["test"].image(7).unique().tolist() == [7]
    assert splits["test"].names[7] == f"{name.lower()}/test/7"


def test_sets_with_named_splits(tmp_path):
    for split, count in (("train", 3), ("valid", 2), ("test", 1)):
        for label in ("negative", "positive"):
            folder = tmp_path / "rendered-sst2" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (8, 8)).save(folder / f"{i}.png")
    data = TorchvisionData("torchvision.datasets.RenderedSST2", str(tmp_path))
    assert data.class_names == ["negative", "positive"]
    assert {split: len(source) for split, source in data.splits().items()} == {"train": 6, "val": 4, "test": 2}


def test_untrusted_and_wrong_options_get_a_sentence(digits):
    with pytest.raises(ValueError, match="outside the packages that may be loaded by name"):
        TorchvisionData("os.system", digits).splits()
    with pytest.raises(ValueError, match="gives no training images: .*'dgits'"):
        TorchvisionData("torchvision.datasets.EMNIST", digits, options={"split": "dgits"}).splits()
