from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.backbones import MLPBackbone
from lightning_transfer.compression import ExactOBS, Magnitude, Unstructured
from lightning_transfer.compression.network import compress_network
from lightning_transfer.compression.specialise import specialise
from lightning_transfer.heads import CosineHead, LinearHead, MLPHead
from lightning_transfer.models import Classifier

NAMES = ["ant", "bee", "cat", "dog"]


def made(head=LinearHead, **options):
    backbone = TimmBackbone("test_resnet", pretrained=False)
    module = FinetuneModule(backbone, 4, head=head, class_names=NAMES, image_size=32, **options).eval()
    nn.init.normal_(next(iter(module.model.head.parameters())))
    return module, {"hyper_parameters": dict(module.hparams), "state_dict": module.state_dict()}


@pytest.mark.parametrize("head", [LinearHead, partial(MLPHead, hidden=8), CosineHead])
def test_logits_of_the_classes_stay_what_they_were(head):
    module, checkpoint = made(head)
    changed, narrow = specialise(checkpoint, module, [1, 3])
    image = torch.rand(5, 3, 32, 32)
    torch.testing.assert_close(narrow(image).logits, module(image).logits[:, [1, 3]])
    assert narrow.class_names == changed["hyper_parameters"]["class_names"] == ["bee", "dog"]
    assert changed["hyper_parameters"]["num_classes"] == narrow.num_classes == 2
    assert {*changed["state_dict"]} == {*checkpoint["state_dict"]}
    assert checkpoint["hyper_parameters"]["num_classes"] == 4


def test_weights_of_classes_go_along():
    module, checkpoint = made(class_weights={"bee": 2.0, "cat": 3.0})
    _, narrow = specialise(checkpoint, module, [1, 3])
    assert narrow.loss.class_weight.tolist() == [2.0, 1.0]


class Contrasting(LinearHead):
    """Logits less their mean: other classes have a say in each."""

    def forward(self, embedding):
        logits = super().forward(embedding)
        return logits - logits.mean(dim=1, keepdim=True)


def test_complaints(monkeypatch):
    monkeypatch.setenv("LIGHTNING_TRANSFER_TRUST", "tests,test_specialise")
    module, checkpoint = made(Contrasting)
    with pytest.raises(ValueError, match="head=Contrasting mixes its classes"):
        specialise(checkpoint, module, [0, 1])
    module = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, task="regression")
    with pytest.raises(ValueError, match="holds a Regressor with task=regression"):
        specialise({"hyper_parameters": dict(module.hparams), "state_dict": module.state_dict()}, module, [0, 1])


@pytest.fixture(scope="module")
def digits():
    """Handwritten digits, every third for the test, and a small network that knows them."""
    found = pytest.importorskip("sklearn.datasets").load_digits()
    image, target = torch.from_numpy(found.images / 16).float()[:, None], torch.from_numpy(found.target).long()
    test = torch.arange(len(target)) % 3 == 0
    torch.manual_seed(0)
    net = Classifier(MLPBackbone([128, 64], image_size=8), LinearHead, 10)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(200):
        optimiser.zero_grad()
        cross_entropy(net(image[~test]).logits, target[~test]).backward()
        optimiser.step()
    return net.eval(), (image[~test], target[~test]), (image[test], target[test])


def test_images_of_the_classes_alone_tell_best_what_they_need(digits):
    """Accuracy on two classes of a network with 3 % of its weights, mean over four pairs of classes."""
    net, (train, of_train), (test, of_test) = digits
    state, ways = {name: tensor.clone() for name, tensor in net.state_dict().items()}, ("own", "all", "magnitude")
    reached = dict.fromkeys(ways, 0.0)
    for first, second in ((3, 8), (4, 9), (1, 7), (5, 6)):
        own = (of_train == first) | (of_train == second)
        asked = (of_test == first) | (of_test == second)
        calibration = {"own": train[own], "all": train[: int(own.sum())], "magnitude": train[own]}
        for way in ways:
            net.load_state_dict(state)
            kind = Magnitude if way == "magnitude" else ExactOBS
            layers = {name: layer for name, layer in net.backbone.named_modules() if isinstance(layer, nn.Linear)}
            named = {f"backbone.{name}": layer for name, layer in layers.items()}
            compress_network(net, named, [kind(Unstructured(0.97))], [calibration[way]])
            says = net(test[asked]).logits[:, [first, second]].argmax(1)
            reached[way] += (torch.tensor([first, second])[says] == of_test[asked]).float().mean().item() / 4
    net.load_state_dict(state)
    assert reached["own"] > 0.93
    assert reached["own"] > reached["all"] + 0.01
    assert reached["all"] > reached["magnitude"] + 0.1
