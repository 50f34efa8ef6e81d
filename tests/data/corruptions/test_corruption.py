import pytest
import torch
from torchvision.transforms.v2.functional import to_dtype

from lightning_transfer.data import Corruption, FakeData
from lightning_transfer.data.corruptions import CORRUPTIONS
from lightning_transfer.data.datasets import ImageDataset


def photo(size=64):
    """Smooth colours and edges, as a photograph has."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    wave = 0.5 + 0.3 * torch.sin(8 * x + 3 * y)
    square = ((x - 0.5).abs() < 0.2) & ((y - 0.4).abs() < 0.25)
    return torch.stack([0.2 + 0.6 * x, wave, torch.where(square, 0.9, 0.25)])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_is_an_image_again_and_worse_at_each_severity(name):
    image, distances = photo(), []
    for severity in range(1, 6):
        torch.manual_seed(0)
        corrupt = Corruption(name, severity)
        found = torch.stack([corrupt(image) for _ in range(20)])
        assert found.shape[1:] == image.shape
        assert found.dtype == torch.float32
        assert found.isfinite().all()
        assert 0 <= found.min() <= found.max() <= 1
        distances.append((found - image).square().mean().sqrt().item())
    assert min(distances) > 1e-4
    if name not in (
        "saturate",
        "elastic_transform",
        "snow",
        "pixelate",
    ):  # the kind changes, or how well pixels fall on edges
        assert distances == sorted(distances)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 33, 20)])
def test_takes_small_and_oblong_images_and_bytes(name, shape):
    for severity in (1, 5):
        image = torch.randint(256, shape, dtype=torch.uint8)
        torch.manual_seed(0)
        found = Corruption(name, severity)(image)
        torch.manual_seed(0)
        assert torch.equal(found, Corruption(name, severity)(to_dtype(image, torch.float32, scale=True)))
        assert found.shape == shape
        black = Corruption(name, severity)(torch.zeros(shape))
        assert black.isfinite().all()


def test_draws_depend_on_index_and_seed_alone():
    source = FakeData().sources()["train"]
    identity = torch.nn.Identity()

    def images(order, seed=0):
        corruption = Corruption("gaussian_noise", seed=seed)
        data = ImageDataset(source, torch.nn.Sequential(identity, corruption), seed=corruption.seed)
        torch.manual_seed(len(order))
        return {i: data[i][0] for i in order}

    forwards, backwards, other = images(range(4)), images((3, 1, 0)), images((0, 1), seed=1)
    assert all(torch.equal(forwards[i], backwards[i]) for i in backwards)
    clean = {i: source.image(i) / 255 for i in forwards}
    assert not torch.equal(forwards[0] - clean[0], forwards[1] - clean[1])
    assert not torch.equal(forwards[0], other[0])


def test_says_which_names_there_are():
    with pytest.raises(ValueError, match="'gausian_noise' is unknown; did you mean gaussian_noise"):
        Corruption("gausian_noise")
    with pytest.raises(ValueError, match="'xyz' is unknown; there are gaussian_noise, shot_noise"):
        Corruption("xyz")
    with pytest.raises(ValueError, match="severity=6 of fog must be 1"):
        Corruption("fog", 6)
