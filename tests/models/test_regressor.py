import torch
from torch import nn

from lightning_transfer.backbones import ModuleBackbone
from lightning_transfer.heads import LinearHead
from lightning_transfer.models import Classifier, Regressor


def made(kind):
    torch.manual_seed(0)
    model = kind(ModuleBackbone(nn.Flatten(), 12), LinearHead, 2)
    nn.init.normal_(model.head.weight)
    return model


def test_predicts_in_the_targets_units():
    image, mean, deviation = torch.rand(5, 3, 2, 2), torch.tensor([2000.0, -1.0]), torch.tensor([50.0, 0.5])
    model = made(Regressor)
    plain = made(Classifier)(image).logits
    torch.testing.assert_close(model(image).logits, plain)
    model.set_units(mean, deviation)
    torch.testing.assert_close(model(image).logits, plain * deviation + mean)
    torch.testing.assert_close(model.standardise(model(image).logits), plain, rtol=1e-4, atol=1e-4)


def test_keeps_the_units_that_it_learned_in_and_those_of_what_is_constant():
    model = made(Regressor)
    model.set_units(torch.tensor([3.0, 4.0]), torch.tensor([2.0, 0.0]))
    model.set_units(torch.tensor([7.0, 7.0]), torch.tensor([7.0, 7.0]))
    assert model.mean.tolist() == [3, 4]
    assert model.deviation.tolist() == [2, 1]
