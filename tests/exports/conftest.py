import pytest
import torch

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.data import EvalTransform
from lightning_transfer.exports import Deployed

NAMES = ["leaf", "stone", "water"]


def photo(height, width, seed):
    """Something with shapes in it: noise at several scales."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.zeros(3, height, width)
    for cells in (2, 7, 29):
        noise = torch.rand(1, 3, cells, cells, generator=generator)
        image += torch.nn.functional.interpolate(noise, (height, width), mode="bilinear")[0]
    return (image * 85).to(torch.uint8)


@pytest.fixture
def images():
    """High, wide, square, small, and of odd sides."""
    sizes = [(120, 90), (75, 133), (64, 64), (31, 47), (97, 201), (73, 73)]
    return [photo(*size, seed) for seed, size in enumerate(sizes)]


@pytest.fixture
def deployed():
    def make(name="test_resnet", size=64, crop=0.875, **options):
        torch.manual_seed(0)
        module = FinetuneModule(
            TimmBackbone(name, pretrained=False), 3, class_names=NAMES, image_size=size, **options
        ).eval()
        for layer in module.model.head.modules():
            if hasattr(layer, "weight"):  # a head at zero predicts alike for all images
                torch.nn.init.normal_(layer.weight, std=20)
        return Deployed(module, EvalTransform(size, crop))

    return make
