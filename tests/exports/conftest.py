import pytest
import torch

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.data import EvalTransform
from lightning_transfer.exports import Deployed
from lightning_transfer.heads import LinearHead
from lightning_transfer.models import Regressor

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
def deployed(images):
    def make(name="test_resnet", size=64, crop=0.875, **options):
        torch.manual_seed(0)
        module = FinetuneModule(
            TimmBackbone(name, pretrained=False), 3, class_names=NAMES, image_size=size, **options
        ).eval()
        model = Deployed(module, EvalTransform(size, crop))
        if isinstance(module.model, Regressor):
            module.model.set_units(torch.tensor([2000.0, 0.0, -5.0]), torch.tensor([50.0, 0.1, 3.0]))
        if isinstance(module.model.head, LinearHead):
            tell_apart(model, images)
        return model

    return make


@torch.no_grad()
def tell_apart(model, images):
    """Give the head, which starts at zero, weights by which the images get different classes."""
    pixels = torch.cat([model.prepare(image[None]) for image in images]) / 255
    embedding = model.model.backbone(pixels).embedding
    head = model.model.head
    torch.nn.init.normal_(head.weight)
    head.weight *= 2 / (embedding @ head.weight.T).std(dim=0, keepdim=True).T
    if head.bias is not None:
        head.bias -= (embedding @ head.weight.T).mean(dim=0)
