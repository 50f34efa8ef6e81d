import os

import torch
from PIL import Image

from lightning_transfer.data.sources import ArraySource, FileSource, Joined, Subset


def test_version_of_a_file_changes_with_its_size_and_time(tmp_path):
    path = tmp_path / "x.png"
    Image.new("RGB", (4, 4)).save(path)
    source, versions = FileSource([path]), set()
    for time in (1, 2):
        os.utime(path, ns=(0, time))
        versions.add(source.version(0))
    path.write_bytes(path.read_bytes() + b"more")
    os.utime(path, ns=(0, 2))
    versions.add(source.version(0))
    path.unlink()
    versions.add(source.version(0))
    assert len(versions) == 4


def test_version_of_an_array_is_that_of_its_pixels():
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    images[2, 0, 1, 1] = 1
    source = ArraySource(images, torch.zeros(3), "x")
    assert source.version(0) == source.version(1) != source.version(2)
    flat = ArraySource(images.view(3, 1, 2, 8), torch.zeros(3), "x")
    assert source.version(0) != flat.version(0)
    assert Subset(source, torch.tensor([2, 0])).version(0) == source.version(2)
    assert Joined([source, source]).version(5) == source.version(2)
