import json
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.checkpoint import weights_from_checkpoint
from lightning_transfer.contracts import Prediction
from lightning_transfer.data import FakeData
from lightning_transfer.edits import BitFit
from lightning_transfer.models import CheckpointSource, ModuleSource, SourceModel, as_source
from lightning_transfer.parts import describe

IMAGE = torch.rand(2, 3, 32, 32)


@pytest.fixture
def checkpoint(trainer):
    """A fine-tuned model, whose head is no longer zero."""
    module = FinetuneModule(
        TimmBackbone("test_resnet", pretrained=False), 4, edits=[BitFit()], class_names=list("abcd"), image_size=32
    )
    run = trainer(max_epochs=1)
    run.fit(module, FakeData(image_size=32))
    run.save_checkpoint("source.ckpt")
    return module.eval()


def test_a_published_network_knows_its_classes():
    source = SourceModel("test_resnet", pretrained=False)
    assert source.num_classes == 1000
    assert source.class_names[1] == "goldfish, Carassius auratus"
    assert len(source.class_names) == 1000
    own = SourceModel("test_resnet", pretrained=False, options={"num_classes": 7})
    assert (own.num_classes, own.class_names) == (7, None)
    assert torch.equal(own.statistics()[0].flatten(), torch.tensor(own.model.pretrained_cfg["mean"]))
    assert describe(source)["init_args"]["name"] == "test_resnet"


def test_a_transformer_takes_another_size():
    source = SourceModel("vit_tiny_patch16_224", pretrained=False).eval()
    with pytest.raises(AssertionError, match="doesn't match"):
        source(IMAGE)
    source.set_image_size(32)
    assert source(IMAGE).logits.shape == (2, 1000)


def test_wants_no_weights_where_a_checkpoint_brings_them(monkeypatch):
    monkeypatch.setattr("lightning_transfer.models.source.load_weights", lambda *_: pytest.fail("asked for weights"))
    with weights_from_checkpoint():
        SourceModel("test_resnet", pretrained=True)


def test_a_checkpoint_as_a_source(checkpoint):
    state = torch.get_rng_state()
    source = as_source("source.ckpt").eval()
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(source, CheckpointSource)
    torch.testing.assert_close(source(IMAGE).logits, checkpoint(IMAGE).logits)  # laid out otherwise in memory
    assert (source.num_classes, source.class_names) == (4, list("abcd"))
    assert torch.equal(source.statistics()[1], checkpoint.model.backbone.std)
    recorded = describe(source)["init_args"]
    Path("source.ckpt").unlink()
    with weights_from_checkpoint():  # the file is needed no more
        again = CheckpointSource(**recorded).eval()
    again.load_state_dict(source.state_dict())
    assert torch.equal(again(IMAGE).logits, source(IMAGE).logits)
    assert describe(again)["init_args"] == recorded
    with pytest.raises(FileNotFoundError, match=r"source: ckpt_path='source\.ckpt' is no file"):
        CheckpointSource(**recorded)


def test_another_file_than_recorded_or_a_hostile_one_is_refused(checkpoint):
    with pytest.raises(ValueError, match="another file than was trained on before"):
        CheckpointSource("source.ckpt", sha256="0" * 64)
    hostile = json.dumps({"_class_path": "subprocess.Popen", "args": ["true"]})
    with weights_from_checkpoint(), pytest.raises(ValueError, match=r"subprocess\.Popen.*LIGHTNING_TRANSFER_TRUST"):
        CheckpointSource("source.ckpt", arguments=hostile)
    Path("torn.ckpt").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"source: ckpt_path='torn\.ckpt' cannot be read"):
        CheckpointSource("torn.ckpt")


def test_a_regressor_is_no_source(trainer):
    run = trainer(max_steps=1)
    module = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 2, task="regression")
    run.strategy.connect(module)
    run.save_checkpoint("regressor.ckpt")
    with pytest.raises(ValueError, match="task=regression; a prompt wants classes"):
        CheckpointSource("regressor.ckpt")


class Own(nn.Module):
    num_classes = 5

    def forward(self, image):
        return image.mean((2, 3)) @ torch.ones(3, 5)


def test_a_network_of_ones_own():
    source = as_source(Own())
    assert isinstance(source, ModuleSource)
    assert isinstance(source(IMAGE), Prediction)
    assert source(IMAGE).logits.shape == (2, 5)
    assert source.statistics() is None
    assert ModuleSource(nn.Identity(), 3, list("abc")).class_names == list("abc")
    assert as_source(source) is source
    with pytest.raises(ValueError, match=r"Identity has no attribute num_classes.*ModuleSource\(module"):
        as_source(nn.Identity())
    with pytest.raises(ValueError, match="num_classes=3 of the source, but class_names has 2"):
        ModuleSource(nn.Identity(), 3, list("ab"))
    with pytest.raises(ValueError, match="resnet18"):
        as_source("resnt18")
