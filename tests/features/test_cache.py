import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from lightning_transfer import TimmBackbone
from lightning_transfer.backbones import ModuleBackbone
from lightning_transfer.contracts import Features
from lightning_transfer.data import EvalTransform, FakeData, FolderData
from lightning_transfer.features import cached_features, read_features


class Counting(nn.Module):
    """Colour means of four quarters, a buffer, and a count of the images seen; breaks off where told to."""

    num_features = 12

    def __init__(self, factor=1.0, stop_at=None):
        super().__init__()
        self.register_buffer("factor", torch.tensor(factor))
        self.seen, self.stop_at = 0, stop_at

    def forward(self, image):
        self.seen += len(image)
        if self.stop_at is not None and self.seen > self.stop_at:
            raise KeyboardInterrupt
        assert torch.is_inference_mode_enabled()
        assert not self.training
        return nn.functional.adaptive_avg_pool2d(image, 2).flatten(1) * self.factor


def counting(**options):
    return ModuleBackbone(Counting(**options))


def fake(**options):
    return FakeData(**{"image_size": 16, "num_workers": 0, "batch_size": 5, **options})


def photos(root, count=8):
    for k, name in enumerate(("ant", "bee")):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (20, 16), (100 * k, 20 * i, 0)).save(root / name / f"{i}.png")
    return FolderData(str(root), image_size=8, num_workers=0, batch_size=3, test_fraction=0.0)


def folders():
    return sorted(path.name for path in Path("runs/features").iterdir())


def test_are_what_the_backbone_says_of_the_eval_transform():
    torch.manual_seed(0)
    backbone = TimmBackbone("test_resnet", pretrained=False).train()
    data = fake(image_size=32, labels_per_class=3)
    features = cached_features(backbone, data, "train")
    source, transform = data.splits()["train"], EvalTransform(32)
    images = torch.stack([transform(source.image(i)) for i in range(len(source))]).float() / 255
    assert all(module.training for module in backbone.modules())
    with torch.no_grad():
        torch.testing.assert_close(features.embedding, backbone.eval()(images).embedding, rtol=1e-4, atol=1e-5)
    assert torch.equal(features.target, source.targets)
    assert features.name == source.names
    assert not features.embedding.requires_grad
    assert not features.embedding.is_inference()


@pytest.mark.parametrize("shard_size", [1, 7, 10, 1000])
def test_shards_join_to_the_same(shard_size):
    whole = cached_features(counting(), fake(), "train", folder="whole")
    parts = cached_features(counting(), fake(), "train", folder="parts", shard_size=shard_size)
    assert torch.equal(whole.embedding, parts.embedding)
    assert torch.equal(whole.target, parts.target)
    assert len(list(Path("parts").glob("0*.npy"))) == -(-len(whole.target) // shard_size)


def test_are_computed_once():
    first = counting()
    features = cached_features(first, fake(), "train")
    assert first.module.seen == len(features.target)
    second = counting()
    again = cached_features(second, fake(), "train")
    assert second.module.seen == 0
    assert torch.equal(again.embedding, features.embedding)
    assert torch.equal(read_features(Path("runs/features") / folders()[0]).embedding, features.embedding)


def test_are_mapped_from_their_file_which_writing_to_them_leaves_alone():
    features = cached_features(counting(), fake(), "train", folder="x")
    (shard,) = Path("x").glob("0*.npy")
    if Path("/proc/self/maps").exists():
        address, maps = features.embedding.data_ptr(), Path("/proc/self/maps").read_text().splitlines()
        where = [line.split()[0].split("-") for line in maps if line.endswith(str(shard.resolve()))]
        assert any(int(low, 16) <= address < int(high, 16) for low, high in where)
    before = shard.read_bytes()
    features.embedding.fill_(0)
    assert shard.read_bytes() == before
    assert read_features("x").embedding.abs().sum() > 0


class Gelu(Counting):
    pass


@pytest.mark.parametrize(
    ("backbone", "data"),
    [
        (lambda: counting(factor=2.0), fake),
        (lambda: ModuleBackbone(Gelu()), fake),
        (counting, lambda: fake(image_size=24)),
        (counting, lambda: fake(eval_transform=lambda size: EvalTransform(size, crop=0.5))),
        (counting, lambda: fake(eval_transform=lambda size: v2.Resize((size, size)))),
        (counting, lambda: fake(labels_per_class=3)),
        (counting, lambda: fake(split_seed=1)),
        (counting, lambda: fake(pixels=40)),
    ],
)
def test_other_weights_transform_or_images_are_another_cache(backbone, data):
    cached_features(counting(), fake(), "train", folder="mine")
    cached_features(counting(), fake(), "train")
    other = backbone()
    cached_features(other, data(), "train")
    assert other.module.seen > 0
    assert len(folders()) == 2
    with pytest.raises(ValueError, match=r"the features in mine are of other .*give another folder"):
        cached_features(backbone(), data(), "train", folder="mine")


def test_a_changed_pixel_label_or_file_is_another_cache(tmp_path):
    data = photos(tmp_path / "photos")
    keys = []

    def count():
        data._splits = {}
        cached_features(counting(), data, "train")
        keys.append(len(folders()))

    count()
    count()
    changed = Path(data.splits()["train"].names[0])
    Image.new("RGB", (20, 16), (1, 2, 3)).save(changed)
    os.utime(changed, ns=(1, 1))
    count()
    os.utime(changed, ns=(1, 2))
    count()
    assert keys == [1, 1, 2, 3]
    fake_data = fake()
    cached_features(counting(), fake_data, "train")
    images = fake_data.splits()["train"].source.source.images
    images[:, 0, 0, 0] += 1
    cached_features(counting(), fake_data, "train")
    fake_data.splits()["train"].targets[0] += 1
    cached_features(counting(), fake_data, "train")
    assert len(folders()) == keys[-1] + 3


def test_says_what_is_different():
    cached_features(counting(), fake(), "train", folder="x")
    with pytest.raises(ValueError, match="the features in x are of other weights; give another folder"):
        cached_features(counting(factor=3.0), fake(), "train", folder="x")
    with pytest.raises(ValueError, match="of other transform and image_size;"):
        cached_features(counting(), fake(image_size=8), "train", folder="x")
    with pytest.raises(ValueError, match="of other images;"):
        cached_features(counting(), fake(), "val", folder="x")
    Path("y").mkdir()
    Path("y", "thesis.txt").touch()
    with pytest.raises(ValueError, match="y exists, but holds no features"):
        cached_features(counting(), fake(), "train", folder="y")
    assert [path.name for path in Path("y").iterdir()] == ["thesis.txt"]


def test_an_interruption_leaves_whole_shards_only_and_the_rest_is_computed_later():
    data = fake()
    count = len(data.splits()["train"])
    with pytest.raises(KeyboardInterrupt):
        cached_features(counting(stop_at=24), data, "train", folder="x", shard_size=10)
    assert sorted(path.name for path in Path("x").iterdir() if path.name.startswith("0")) == [
        "00000000-10.npy",
        "00000010-10.npy",
    ]
    assert not list(Path("x").rglob("*.partial"))
    with pytest.raises(FileNotFoundError, match="not yet all of them"):
        read_features("x")
    with pytest.raises(ValueError, match="of other weights"):
        cached_features(counting(factor=2.0), data, "train", folder="x", shard_size=10)
    later = counting()
    resumed = cached_features(later, data, "train", folder="x", shard_size=10)
    assert later.module.seen == count - 20
    assert torch.equal(resumed.embedding, cached_features(counting(), data, "train").embedding)


def test_shards_of_another_size_are_not_mistaken():
    data = fake()
    with pytest.raises(KeyboardInterrupt):
        cached_features(counting(stop_at=24), data, "train", folder="x", shard_size=10)
    resumed = cached_features(counting(), data, "train", folder="x", shard_size=13)
    assert torch.equal(resumed.embedding, cached_features(counting(), data, "train").embedding)


@pytest.mark.parametrize("shard_size", [4, 1000])
def test_unreadable_files_have_no_features(tmp_path, shard_size):
    data = photos(tmp_path / "photos")
    names = data.splits()["train"].names
    for broken in (names[1], names[-1]):
        Path(broken).write_text("broken")
    with pytest.raises(ValueError, match=r"cannot be read as an image.*on_error=skip"):
        cached_features(counting(), data, "train", shard_size=shard_size)
    data.on_error = "skip"
    with pytest.warns(UserWarning, match="2 unreadable images were left out"):
        features = cached_features(counting(), data, "train", shard_size=shard_size)
    kept = [i for i in range(len(names)) if i not in (1, len(names) - 1)]
    again = cached_features(counting(), data, "train", shard_size=shard_size)
    assert again.name == features.name == [names[i] for i in kept]
    data.on_error = "raise"
    with pytest.raises(ValueError, match=r"2 images could not be read when .*data\.on_error=skip leaves them out"):
        cached_features(counting(), data, "train", shard_size=shard_size)
    assert torch.equal(features.target, data.splits()["train"].targets[kept])
    for name, embedding in zip(features.name, features.embedding, strict=True):
        pixel = np.asarray(Image.open(name))[0, 0] / 255
        assert embedding[0].item() == pytest.approx(pixel[0], abs=0.01)
        assert embedding[4].item() == pytest.approx(pixel[1], abs=0.01)


def test_index_is_plain_json():
    cached_features(counting(), fake(), "val", folder="x")
    assert json.loads(Path("x/index.json").read_text())["names"][0].startswith("fake/")
    assert json.loads(Path("x/key.json").read_text())["image_size"] == 16


class Bad(nn.Module):
    num_features = 3

    def __init__(self, result):
        super().__init__()
        self.result = result

    def forward(self, image):
        return self.result(image)


def fails(image):
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (fails, "the backbone refuses images of 16x16 pixels: mat1 and mat2.*set another data.image_size"),
        (lambda image: image.mean((2, 3)) / 0, "are not all finite"),
        (lambda image: Features(image), r"returns \(5, 3, 16, 16\); a probe needs one vector an image"),
    ],
)
def test_faults_of_the_backbone_get_a_sentence_and_leave_no_shard(result, message):
    with pytest.raises(ValueError, match=message):
        cached_features(ModuleBackbone(Bad(result)), fake(), "train", folder="x")
    assert [path.name for path in Path("x").iterdir()] == ["key.json"]


def test_complaints():
    with pytest.raises(ValueError, match="the data has no test split"):
        cached_features(counting(), fake(test_fraction=0.0), "test")
    with pytest.raises(ValueError, match="shard_size=0 must be at least 1"):
        cached_features(counting(), fake(), "train", shard_size=0)
    with pytest.raises(FileNotFoundError, match=r"nowhere holds no index\.json"):
        read_features("nowhere")


def test_workers_and_files_on_several_shards(tmp_path):
    data = photos(tmp_path / "photos")
    alone = cached_features(counting(), data, "train", folder="x")
    data.num_workers = 1
    assert torch.equal(cached_features(counting(), data, "train", folder="y", shard_size=9).embedding, alone.embedding)
