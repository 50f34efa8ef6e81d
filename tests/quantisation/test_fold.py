import pytest
import torch
from torch import nn

from lightning_transfer import TimmBackbone
from lightning_transfer.quantisation.flow import watch
from lightning_transfer.quantisation.fold import fold_batch_norms

IMAGE = torch.rand(2, 3, 32, 32)


def as_trained(model):
    """Statistics and weights of norms that are not those of the start."""
    for name, value in model.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            value.normal_(std=0.1)
        elif value.ndim == 1:
            value.uniform_(0.5, 1.5)
    return model.eval()


@torch.no_grad()
def unchanged(model):
    before = model(IMAGE)
    folded = fold_batch_norms(model, IMAGE)
    after = model(IMAGE)
    embedding = getattr(before, "embedding", before)
    difference = (getattr(after, "embedding", after) - embedding).abs().max()
    assert difference < 1e-5 * embedding.abs().max()
    return folded


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_efficientnet", "test_byobnet"]
)  # depthwise convolutions among them
def test_a_folded_network_computes_the_same(name):
    model = as_trained(TimmBackbone(name, pretrained=False))
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert unchanged(model) == norms > 0
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_a_norm_that_scales_to_zero():
    model = as_trained(TimmBackbone("test_resnet", pretrained=False))
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    nn.init.zeros_(norm.weight)
    unchanged(model)
    assert all(value.isfinite().all() for value in model.state_dict().values())


class Twisted(nn.Module):
    """A norm in front of a convolution, one whose convolution is read by others too, one called twice, and one without statistics."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.a, self.b, self.c, self.d = (nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(4))
        self.twice, self.without = nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False)
        self.good, self.folds = nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3, affine=False)

    def forward(self, x):
        y = self.a(self.first(x))
        x = self.norm(y) + y
        x = self.twice(self.twice(self.b(x)))
        x = self.without(self.c(x))
        z = self.d(x)
        z += x  # in place: what the next norm reads is another tensor under the same name
        return self.folds(self.good(z))


def test_only_what_follows_one_convolution_alone_is_folded():
    model = as_trained(Twisted())
    model.folds.running_var.uniform_(0.5, 2)
    assert unchanged(model) == 1
    assert isinstance(model.folds, nn.Identity)
    assert isinstance(model.norm, nn.BatchNorm2d)


def test_who_reads_what_in_place_or_not():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)).train()
    flow = watch(model, IMAGE, [*model])
    assert [flow.only_reader(module) for module in model] == [model[1], model[2], model[3], None]
    assert model.training
    assert all(module.training for module in model)
    assert not any(module._forward_hooks for module in model)
