import pytest
import torch
from torch import nn

from lightning_transfer import TimmBackbone
from lightning_transfer.heads import LinearHead
from lightning_transfer.models import Classifier
from lightning_transfer.quantisation.fold import fold_batch_norms


def used(name):
    """A classifier whose norms have seen something."""
    torch.manual_seed(0)
    model = Classifier(TimmBackbone(name, pretrained=False), LinearHead, 4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    nn.init.normal_(model.head.weight)
    return model.eval()


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_byobnet"])
def test_a_folded_network_answers_as_before(name):
    model, image = used(name), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = model(image).logits
        assert fold_batch_norms(model, image) > 0
        torch.testing.assert_close(model(image).logits, before, atol=1e-5, rtol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_a_norm_that_lets_nothing_through_folds_into_zeros():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)).eval()
    nn.init.zeros_(model[1].weight)
    nn.init.ones_(model[1].bias)
    assert fold_batch_norms(model, torch.rand(1, 3, 8, 8)) == 1
    assert model(torch.rand(1, 3, 8, 8)).eq(1).all()


def test_a_convolution_that_others_read_keeps_its_norm():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.convolution(x)
            return self.norm(y) + y

    model, image = Branches().eval(), torch.rand(1, 3, 8, 8)
    before = model(image)
    assert fold_batch_norms(model, image) == 0
    torch.testing.assert_close(model(image), before)
