from pathlib import Path

import pytest
import torch

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.data import FakeData
from lightning_transfer.edits import BitFit, LoRA, StartFrom


def build(seed=0, num_classes=4, **kwargs):
    torch.manual_seed(seed)
    return FinetuneModule(TimmBackbone("test_resnet", pretrained=False), num_classes, **kwargs)


@pytest.fixture
def source(trainer):
    module, run = build(), trainer(max_epochs=1)
    run.fit(module, FakeData(image_size=32, num_workers=0))
    run.save_checkpoint("source.ckpt")
    return module.model.state_dict()


def same(model, source, part):
    return all(torch.equal(v, source[k]) for k, v in model.state_dict().items() if k.startswith(part))


def test_takes_backbone_with_its_statistics_and_leaves_the_head(source):
    model = build(1, num_classes=7, edits=[StartFrom("source.ckpt"), BitFit()]).model
    assert same(model, source, "backbone")
    assert not model.head.weight.any()
    assert not same(build(1).model, source, "backbone")


def test_takes_all(source):
    assert same(build(1, edits=[StartFrom("source.ckpt", "")]).model, source, "")


def test_takes_what_the_expression_names(source):
    model = build(1, edits=[StartFrom("source.ckpt", "model.layer1")]).model
    assert same(model, source, "backbone.model.layer1")
    assert not same(model, source, "backbone.model.layer2")


def test_what_begins_there_is_loaded_without_it(source, trainer):
    module, run = build(1, edits=[StartFrom("source.ckpt")]), trainer(max_epochs=1)
    run.fit(module, FakeData(image_size=32, num_workers=0))
    run.save_checkpoint("after.ckpt")
    trained = module.model.state_dict()
    Path("source.ckpt").unlink()
    again = FinetuneModule.load_from_checkpoint("after.ckpt")
    assert same(again.model, trained, "")


@pytest.mark.parametrize(
    ("edits", "sentence"),
    [
        ([("nowhere.ckpt", "")], "nowhere.ckpt' is no file"),
        ([("source.ckpt", "neck")], r"parameters='neck'.*names no weight of the model; parts: backbone, head"),
        ([("source.ckpt", "(")], "is no regular expression"),
    ],
)
def test_refuses(source, edits, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        build(1, edits=[StartFrom(*arguments) for arguments in edits])


def test_refuses_a_head_for_other_classes_and_layers_that_are_not_there(source):
    with pytest.raises(ValueError, match=r"head.weight of shape \(7, .*the checkpoint has shape \(4, "):
        build(1, num_classes=7, edits=[StartFrom("source.ckpt", "")])
    with pytest.raises(ValueError, match="no such weight; .*what merge writes"):
        build(1, edits=[LoRA(), StartFrom("source.ckpt")])
