import pytest
import torch
from torch import nn

from lightning_transfer.backbones import Conv4, as_backbone


@pytest.mark.parametrize(("size", "width"), [(28, 64), (84, 64 * 25), (48, 64 * 9)])
def test_has_the_papers_shapes(size, width):
    backbone = as_backbone(Conv4(), size)
    features = backbone(torch.rand(2, 3, size, size))
    assert features.embedding.shape == (2, width == backbone.num_features and width)
    assert torch.equal(features.maps[0].flatten(1), features.embedding)
    # 3 x 3 x (3 + 3 x 64) x 64 weights, and a bias and two of the norm a channel
    assert sum(p.numel() for p in backbone.parameters()) == 9 * (3 + 3 * 64) * 64 + 4 * 3 * 64


def test_a_group_norm_looks_at_one_image_alone():
    image = torch.rand(4, 3, 32, 32)
    for norm, alone in (("group", True), ("batch", False)):
        backbone = Conv4(norm=norm, image_size=32).train()
        same = torch.allclose(backbone(image).embedding[:2], backbone(image[:2]).embedding, atol=1e-5)
        assert same is alone
    assert not [m for m in Conv4(norm="group").modules() if isinstance(m, nn.BatchNorm2d)]


def test_stages_are_the_blocks():
    stages = Conv4().stages()
    assert set(stages) == {name for name, _ in Conv4().named_parameters()}
    assert stages["blocks.0.0.weight"] == 0
    assert stages["blocks.3.1.bias"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"norm": "layer"}, "norm='layer' of Conv4 must be batch or group"),
        ({"width": 20, "norm": "group"}, "width=20 of Conv4 must be at least 1, and a multiple of 8"),
        ({"image_size": 15}, "image_size=15 is halved 4 times by Conv4, which needs 16 pixels"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Conv4(**arguments)


def test_refuses_images_of_another_size():
    with pytest.raises(ValueError, match="Conv4 has image_size=28, but the images are 32x28"):
        Conv4()(torch.rand(1, 3, 32, 28))
