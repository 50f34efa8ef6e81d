import pytest
import torch
from torch import nn

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.data import EvalTransform
from lightning_transfer.exports import Deployed
from lightning_transfer.exports.deployed import MiddleOfImage


@pytest.mark.parametrize("crop", [0.875, 0.9, 1.0])
@pytest.mark.parametrize("size", [24, 33])
def test_the_middle_is_that_of_the_transform(size, crop):
    transform = EvalTransform(size, crop)
    middle = MiddleOfImage(transform.size, transform.short_side)
    for height in range(5, 90, 7):
        for width in (17, 40, 63, 88):
            image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
            assert torch.equal(middle(image[None])[0], transform(image)), (height, width)


@pytest.mark.parametrize("task", ["classification", "multi_label"])
def test_predicts_what_the_module_predicts(deployed, images, task):
    model = deployed(task=task)
    for image in images:
        torch.testing.assert_close(model(image[None])[0], model.reference(image))
    sums = torch.stack([model.reference(image).sum() for image in images])
    assert torch.allclose(sums, torch.ones(6)) == (task == "classification")


def test_refuses_transforms_that_it_cannot_write():
    class Mirror(nn.Module): ...

    module = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 3)
    with pytest.raises(ValueError, match=r"data\.eval_transform=Mirror cannot be written"):
        Deployed(module, Mirror())


def test_metadata_say_what_a_user_must_know(deployed):
    metadata = deployed(size=64, crop=0.875).metadata()
    assert metadata["class_names"] == ["leaf", "stone", "water"]
    assert metadata["preprocessing"]["resize_shorter_side"] == 73
    assert metadata["preprocessing"]["center_crop"] == 64
    unnamed = Deployed(FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 2), EvalTransform(32))
    assert unnamed.metadata()["class_names"] == ["0", "1"]
