import pytest
import torch
from torch import nn

from lightning_transfer import FinetuneModule
from lightning_transfer.edits import Adapter

HEAD = {"model.head.weight", "model.head.bias"}


def own(module):
    return {name for name, _ in module.named_parameters() if ".adapter." in name}


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("test_vit", "blocks.0.mlp"),
        ("test_convnext", "stages.0.blocks.0.mlp"),
        ("test_resnet", "layer1"),
        ("test_efficientnet", "blocks.0"),
        ("test_mambaout", "stages.0"),  # channels come last, and there is no MLP
    ],
)
def test_starts_as_the_backbone_and_moves_only_its_own(name, places, adapted, trained, moved):
    module, plain = adapted(name, Adapter(bottleneck=16))  # of few units all may be below zero
    image = torch.rand(4, 3, 32, 32)
    assert torch.equal(module.eval()(image).logits, plain.eval()(image).logits)
    assert f"model.backbone.model.{places}.adapter.down.weight" in own(module)
    assert trained(module) == own(module) | HEAD
    assert moved(module) == own(module) | HEAD


def test_every_block_and_every_stage_has_one(adapted):
    module, plain = adapted("test_vit", Adapter(3))
    assert len(own(module)) == 4 * len(plain.model.backbone.model.blocks)
    module, _ = adapted("test_resnet", Adapter(3))
    assert len(own(module)) == 4 * 4
    module, plain = adapted("test_vit_relpos", Adapter(3))  # has another kind of MLP, from positions to biases, as well
    assert len(own(module)) == 4 * len(plain.model.backbone.model.blocks)


@pytest.mark.parametrize(("name", "channels_in_last"), [("test_vit", True), ("test_resnet", False)])
def test_computes_its_formula(name, channels_in_last, adapted):
    module, _ = adapted(name, Adapter(bottleneck=3, scale=0.5))
    model = module.eval().model.backbone.model
    layer = model.blocks[0].mlp if channels_in_last else model.layer1
    adapter, inner = layer.adapter, layer.base
    width = adapter.up.bias.shape[0]
    x = torch.randn(2, 5, width) if channels_in_last else torch.randn(2, model.layer1.base[0].conv1.in_channels, 8, 8)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_()
        h = inner(x)
        seen = x if channels_in_last else h.movedim(1, -1)
        down, up = adapter.down.weight.flatten(1), adapter.up.weight.flatten(1)
        delta = 0.5 * ((seen @ down.T + adapter.down.bias).relu() @ up.T + adapter.up.bias)
        torch.testing.assert_close(layer(x), h + (delta if channels_in_last else delta.movedim(-1, 1)))


def test_cannot_be_folded():
    with pytest.raises(ValueError, match="Adapter cannot be merged"):
        Adapter.fold(nn.Identity())


@pytest.mark.parametrize(("options", "message"), [({"bottleneck": 0}, "bottleneck=0"), ({"scale": 0.0}, r"scale=0\.0")])
def test_refuses_values_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Adapter(**options)


def test_a_backbone_without_blocks_or_stages_gets_a_sentence():
    own = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    own.num_features = 5
    with pytest.raises(ValueError, match="neither blocks with an `mlp` nor stages"):
        FinetuneModule(own, 4, edits=[Adapter()])


def test_stages_of_several_maps_get_a_sentence():
    class Several(nn.Module):
        num_features = 3

        def __init__(self):
            super().__init__()
            self.stage = nn.Conv2d(3, 3, 1)
            self.stage.forward = lambda x: [x, x]  # as HRNet's
            self.feature_info = [{"module": "stage", "num_chs": 3}]

        def forward(self, image):
            return self.stage(image)[0].mean((2, 3))

    module = FinetuneModule(Several(), 4, edits=[Adapter()])
    with pytest.raises(ValueError, match="this backbone's return several"):
        module(torch.rand(1, 3, 8, 8))
