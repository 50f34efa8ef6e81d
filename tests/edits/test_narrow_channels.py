from pathlib import Path

import pytest
import torch

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.data import FakeData
from lightning_transfer.edits import FreezeBackbone, NarrowChannels, StartFrom

OUTPUTS = {"backbone.model.layer1.0.conv1": 5, "backbone.model.layer1.0.bn1": 5}
INPUTS = {"backbone.model.layer1.0.conv2": 5}
IMAGE = torch.rand(2, 3, 32, 32)


def build(num_classes=4, **kwargs):
    return FinetuneModule(TimmBackbone("test_resnet", pretrained=False), num_classes, **kwargs)


def widths(module):
    block = module.model.backbone.model.layer1[0]
    return block.conv1.out_channels, block.bn1.num_features, block.conv2.in_channels


def save(module, trainer, path):
    run = trainer(max_epochs=1)
    run.fit(module, FakeData(image_size=32, num_workers=0))
    run.save_checkpoint(path)
    return module.eval()


def test_a_layer_keeps_its_first_channels():
    torch.manual_seed(1)
    dense = build()
    torch.manual_seed(1)
    narrow = build(edits=[NarrowChannels(OUTPUTS, INPUTS)]).eval()
    assert widths(narrow) == (5, 5, 5)
    block, whole = narrow.model.backbone.model.layer1[0], dense.model.backbone.model.layer1[0]
    assert torch.equal(block.conv1.weight, whole.conv1.weight[:5])
    assert torch.equal(block.conv2.weight, whole.conv2.weight[:, :5])
    assert narrow(IMAGE).logits.shape == (2, 4)


def test_depthwise_convolutions_take_as_many_as_they_put_out():
    network = TimmBackbone("test_efficientnet", pretrained=False)
    name = "backbone.model.blocks.3.0.conv_dw"
    layer = FinetuneModule(network, 4, edits=[NarrowChannels({name: 9}, {})]).model.get_submodule(name)
    assert (layer.in_channels, layer.groups, layer.weight.shape[:2]) == (9, 9, (9, 1))


def test_what_is_frozen_stays_frozen():
    narrow = build(edits=[FreezeBackbone(), NarrowChannels(OUTPUTS, INPUTS)])
    assert not any(parameter.requires_grad for parameter in narrow.model.backbone.parameters())


def test_a_narrow_network_is_trained_saved_and_loaded(trainer):
    narrow = save(build(edits=[NarrowChannels(OUTPUTS, INPUTS)]), trainer, "narrow.ckpt")
    again = FinetuneModule.load_from_checkpoint("narrow.ckpt").eval()
    assert torch.equal(again(IMAGE).logits, narrow(IMAGE).logits)


def test_a_training_that_starts_from_a_narrow_network_is_as_narrow_and_needs_it_no_more(trainer):
    narrow = save(build(edits=[NarrowChannels(OUTPUTS, INPUTS)]), trainer, "narrow.ckpt")
    after = build(edits=[StartFrom("narrow.ckpt", "")]).eval()
    assert torch.equal(after(IMAGE).logits, narrow(IMAGE).logits)
    save(after, trainer, "after.ckpt")
    Path("narrow.ckpt").unlink()
    assert widths(FinetuneModule.load_from_checkpoint("after.ckpt")) == (5, 5, 5)
    paths = [edit["class_path"] for edit in torch.load("after.ckpt", weights_only=True)["hyper_parameters"]["edits"]]
    assert [path.rpartition(".")[2] for path in paths] == ["NarrowChannels", "StartFrom"]


def test_other_classes_can_be_learned_by_a_narrow_network(trainer):
    save(build(edits=[NarrowChannels(OUTPUTS, INPUTS)]), trainer, "narrow.ckpt")
    seven = build(7, edits=[StartFrom("narrow.ckpt")])
    assert (widths(seven), seven.model.head.out_features) == ((5, 5, 5), 7)


def test_widths_compose():
    module = build(edits=[NarrowChannels(OUTPUTS, INPUTS), NarrowChannels(dict.fromkeys(OUTPUTS, 3), {})])
    assert module.model.narrowed.init_args == {"outputs": dict.fromkeys(OUTPUTS, 3), "inputs": INPUTS}


@pytest.mark.parametrize(
    ("outputs", "inputs", "sentence"),
    [
        ({"backbone.model.neck": 3}, {}, "names 'backbone.model.neck', which is no layer of the model"),
        ({"backbone.model": 3}, {}, "names 'backbone.model', which is a ResNet"),
        ({"backbone.model.layer1.0.conv1": 33}, {}, r"outputs={'backbone.model.layer1.0.conv1': 33}\) must be 1 to 32"),
        ({}, {"head": 0}, r"inputs={'head': 0}\) must be 1 to 96"),
    ],
)
def test_refuses(outputs, inputs, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(edits=[NarrowChannels(outputs, inputs)])


def test_refuses_a_width_that_groups_do_not_divide():
    from torch import nn

    model = nn.Sequential(nn.Conv2d(8, 4, 1, groups=2))
    with pytest.raises(ValueError, match="must be a multiple of the convolution's 2 groups"):
        NarrowChannels({"0": 3}, {})(model)
