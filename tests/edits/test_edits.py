import pytest
import torch

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.data import FakeData
from lightning_transfer.edits import FreezeBackbone, Reinit


def module(**options):
    return FinetuneModule(TimmBackbone("test_resnet", pretrained=False), num_classes=4, **options)


def test_a_frozen_backbone_is_bit_equal_after_training_and_evaluates_as_it_trains(trainer):
    frozen = module(edits=[FreezeBackbone()])
    before = {k: v.clone() for k, v in frozen.model.backbone.state_dict().items()}
    trainer(max_epochs=2).fit(frozen, FakeData(image_size=32))
    for name, value in frozen.model.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert frozen.model.head.weight.abs().max() > 0
    image = torch.rand(4, 3, 32, 32)
    assert torch.equal(frozen.train()(image).logits, frozen.eval()(image).logits)


def test_without_freezing_the_statistics_move(trainer):
    free = module()
    state = {k: v.clone() for k, v in free.model.backbone.state_dict().items()}
    trainer(max_epochs=1).fit(free, FakeData(image_size=32))
    moved = [k for k, v in free.model.backbone.state_dict().items() if not torch.equal(v, state[k])]
    assert any("running_mean" in k for k in moved)


def test_reinit_changes_what_matches_and_nothing_else():
    model = module().model
    before = {k: v.clone() for k, v in model.state_dict().items()}
    Reinit(r"layer4")(model)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all("layer4" in k for k in changed)
    with pytest.raises(ValueError, match="layer9"):
        Reinit("layer9")(model)
