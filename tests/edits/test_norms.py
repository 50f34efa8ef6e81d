import pytest
import timm
import torch
from torch import nn

from lightning_transfer import FinetuneModule
from lightning_transfer.edits import HoldStatistics, TrainNorms

HEAD = {"model.head.weight", "model.head.bias"}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("test_resnet", (nn.BatchNorm2d,)),
        ("test_vit", (nn.LayerNorm,)),
        ("test_efficientnet", (nn.BatchNorm2d,)),  # fused with the activation
        ("test_efficientnet_gn", (nn.GroupNorm,)),
        ("test_efficientnet_evos", (timm.layers.EvoNorm2dS0,)),  # derives from no norm of torch
        ("test_convnext", (nn.LayerNorm,)),
    ],
)
def test_norms_and_the_head_train_and_nothing_else_moves(name, kinds, adapted, trained, moved):
    module, _ = adapted(name, TrainNorms())
    norms = {
        f"{owner}.{n}"
        for owner, m in module.named_modules()
        if isinstance(m, kinds) and owner.startswith("model.backbone")
        for n, _ in m.named_parameters(recurse=False)
    }
    assert norms
    assert trained(module) == norms | HEAD
    assert moved(module) <= norms | HEAD


def test_it_trains_as_it_evaluates(adapted):
    module, _ = adapted("test_efficientnet", TrainNorms())
    image = torch.rand(4, 3, 32, 32)
    assert torch.equal(module.train()(image).logits, module.eval()(image).logits)


def test_rms_norms_count_and_layers_called_after_their_norm_do_not():
    class LinearNorm(nn.Module):  # as levit's: its norm lies within
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3, 3))
            self.norm = timm.layers.RmsNorm(3)

        def forward(self, x):
            return self.norm(x @ self.scale)

    class Own(nn.Module):
        num_features = 3

        def __init__(self):
            super().__init__()
            self.layer = LinearNorm()

        def forward(self, image):
            return self.layer(image.mean((2, 3)))

    module = FinetuneModule(Own(), 4, edits=[TrainNorms()])
    backbone = module.model.backbone
    assert {n for n, p in backbone.named_parameters() if p.requires_grad} == {"module.layer.norm.weight"}


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_all_weights_train_while_statistics_are_held(name, adapted, trained, moved):
    module, _ = adapted(name, HoldStatistics())
    parameters = {n for n, _ in module.named_parameters()}
    assert trained(module) == parameters
    assert moved(module) == parameters  # and no running mean, variance or count of batches
    image = torch.rand(4, 3, 32, 32)
    assert torch.equal(module.train()(image).logits, module.eval()(image).logits)


def test_says_that_there_are_no_statistics_to_hold(adapted):
    with pytest.raises(ValueError, match="HoldStatistics found no batch norm"):
        adapted("test_convnext", HoldStatistics())
