import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from lightning_transfer.data.datasets import ImageDataset, collate
from lightning_transfer.data.sources import ArraySource, ImageSource


class Counting(ImageSource):
    targets = torch.tensor([0, 1])
    names = ("a", "b")

    def __init__(self):
        self.reads = 0

    def image(self, index):
        self.reads += 1
        return torch.full((3, 4, 4), 51 * (index + 1), dtype=torch.uint8)


def test_bytes_become_floats_and_floats_stay():
    expected = torch.full((3, 4, 4), 0.4)
    for transform in (nn.Identity(), v2.ToDtype(torch.float32, scale=True)):
        image, target, name, *_ = ImageDataset(Counting(), transform)[1]
        torch.testing.assert_close(image, expected)
        assert (target.item(), name) == (1, "b")


def test_the_number_in_the_split_outlives_epochs_and_unreadable_neighbours():
    data = ImageDataset(Counting(), nn.Identity())
    assert collate([data[2 * 7 + 1], None, data[0]]).indices.tolist() == [1, 0]


@pytest.mark.parametrize(("cache", "reads"), [(False, 6), (True, 2)])
def test_the_cache_reads_every_image_once(cache, reads):
    source = Counting()
    data = ImageDataset(source, nn.Identity(), cache=cache)
    for _ in range(3):
        collate([data[0], data[1]])
    assert source.reads == reads


def test_grey_images_get_three_equal_channels():
    grey = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
    image, *_ = ImageDataset(ArraySource(grey, torch.tensor([0]), "grey"), nn.Identity())[0]
    assert image.shape == (3, 4, 4)
    assert torch.equal(image[0], image[2])


def test_several_labels_collate_to_a_matrix():
    source = ArraySource(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([[1.0, 0.0], [1.0, 1.0]]), "made")
    data = ImageDataset(source, nn.Identity())
    assert collate([data[0], None, data[1]]).target.tolist() == [[1, 0], [1, 1]]


class Noise(nn.Module):
    def forward(self, image):
        return image + torch.randint(0, 50, image.shape, dtype=torch.uint8)


def test_augmentations_come_in_turn_and_all_differ():
    data = ImageDataset(Counting(), Noise(), seed=3, augmentations=3)
    endless = ImageDataset(Counting(), Noise(), seed=3)
    versions = [data[1 + 2 * epoch][0] for epoch in range(7)]
    for epoch, version in enumerate(versions):
        assert [torch.equal(version, other) for other in versions] == [e % 3 == epoch % 3 for e in range(7)]
        assert torch.equal(version, endless[1 + 2 * epoch][0]) is (epoch < 3)


def test_a_transform_that_draws_is_found_out():
    assert ImageDataset(Counting(), Noise(), seed=0, augmentations=1).is_random()
    assert not ImageDataset(Counting(), nn.Identity(), seed=0).is_random()
