from pathlib import Path

import pytest
import torch

from lightning_transfer import FinetuneModule, TransferModule, ZeroShotModule
from lightning_transfer.adapters import CoOp
from lightning_transfer.backbones import ImageTextBackbone
from lightning_transfer.data import FakeData
from lightning_transfer.models import as_image_text

IMAGE = torch.rand(3, 3, 32, 32)


def test_the_model_of_a_checkpoint_is_frozen_and_says_what_it_said(pairs):
    known = as_image_text(pairs)
    original = TransferModule.load_from_checkpoint(pairs).model.eval()
    assert torch.equal(known.encode_image(IMAGE), original.encode_image(IMAGE))
    assert torch.equal(known.encode_text(["a cat"]), original.encode_text(["a cat"]))
    assert known.state_dict().keys() == original.state_dict().keys()
    assert not known.training
    assert not any(parameter.requires_grad for parameter in known.parameters())


@pytest.mark.parametrize("adapter", [None, CoOp(4)])
def test_whoever_is_built_on_it_needs_the_file_no_more(trainer, pairs, adapter):
    made = ZeroShotModule(pairs, class_names=[f"class {k}" for k in range(4)], image_size=32, adapter=adapter)
    run = trainer(max_epochs=1)
    if adapter:
        run.fit(made, FakeData(image_size=32, num_workers=0))
    else:
        run.strategy.connect(made)
    run.save_checkpoint("x.ckpt")
    Path(pairs).unlink()
    again = TransferModule.load_from_checkpoint("x.ckpt").eval()
    assert torch.equal(again(IMAGE).logits, made.eval()(IMAGE).logits)


def test_another_file_at_the_same_place_is_told(trainer, pairs):
    made = ZeroShotModule(pairs, words=["cat", "dog"])
    recorded = made.model.image_text.init_args
    Path(pairs).write_bytes(Path(pairs).read_bytes()[:-1])
    with pytest.raises(ValueError, match="image_text: "):
        as_image_text(type(made.model.image_text)(recorded["path"], recorded["sha256"]))


@pytest.mark.parametrize("projected", [False, True])
def test_a_backbone_of_its_image_tower_trains_and_loads_alone(trainer, pairs, projected):
    known = as_image_text(pairs)
    backbone = ImageTextBackbone(pairs, projected).eval()
    seen = backbone(IMAGE).embedding
    expected = known.encode_image(IMAGE) if projected else known.backbone(IMAGE).embedding
    assert torch.equal(seen, expected)
    assert backbone.num_features == seen.shape[1]
    assert not any("text" in name for name in backbone.state_dict())
    assert backbone.stages().keys() == dict(backbone.named_parameters()).keys()
    made = FinetuneModule(backbone, 4, image_size=32)
    run = trainer(max_epochs=1)
    run.fit(made, FakeData(image_size=32, num_workers=0))
    run.save_checkpoint("x.ckpt")
    Path(pairs).unlink()
    again = TransferModule.load_from_checkpoint("x.ckpt").eval()
    assert torch.equal(again(IMAGE).logits, made.eval()(IMAGE).logits)
    assert not torch.equal(again(IMAGE).features.embedding, seen)  # it was trained
