from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader

from lightning_transfer import FinetuneModule, Optim, TimmBackbone, TransferModule
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data import FakeData
from lightning_transfer.edits import FreezeBackbone
from lightning_transfer.heads import MLPHead


def backbone(name="test_resnet"):
    return TimmBackbone(name, pretrained=False)


def fitted(trainer, tmp_path, **options):
    module = FinetuneModule(backbone(), num_classes=4, **options)
    run = trainer(max_epochs=1)
    run.fit(module, FakeData(image_size=32))
    run.save_checkpoint(tmp_path / "x.ckpt")
    return module.eval(), tmp_path / "x.ckpt"


def test_overfits_one_batch(trainer):
    batch = ImageBatch(torch.rand(8, 3, 32, 32), torch.arange(8) % 4)
    module = FinetuneModule(backbone(), 4, Optim(partial(SGD, lr=0.1, momentum=0.9), schedule=None))
    trainer(max_steps=60).fit(module, DataLoader([batch], batch_size=None))
    assert module.train().step(batch).loss < 0.05


def test_comes_back_from_its_checkpoint_alone(trainer, tmp_path):
    options = {"head": partial(MLPHead, hidden=6), "edits": [FreezeBackbone()], "class_names": list("abcd")}
    module, path = fitted(trainer, tmp_path, **options)
    image = torch.rand(3, 3, 32, 32)
    for cls in (FinetuneModule, TransferModule):
        again = cls.load_from_checkpoint(path).eval()
        assert torch.equal(again(image).logits, module(image).logits)
        assert again.class_names == list("abcd")
        assert not any(p.requires_grad for p in again.model.backbone.parameters())


def test_checkpoint_is_plain_data_and_wants_no_pretrained_weights_again(trainer, tmp_path, monkeypatch):
    _, path = fitted(trainer, tmp_path)
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["hyper_parameters"]["backbone"]["init_args"]["name"] == "test_resnet"
    checkpoint["hyper_parameters"]["backbone"]["init_args"]["pretrained"] = True
    torch.save(checkpoint, path)
    monkeypatch.setattr(
        "lightning_transfer.backbones.timm.load_weights", lambda *_: pytest.fail("asked for weights again")
    )
    FinetuneModule.load_from_checkpoint(path)


class Own(nn.Module):
    num_features = 5

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 5)

    def forward(self, image):
        return self.layer(image.mean((2, 3)))


def test_says_which_part_to_pass_again(trainer, tmp_path):
    run = trainer(max_epochs=1)
    module = FinetuneModule(Own(), num_classes=4)
    run.fit(module, FakeData(image_size=32))
    run.save_checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=r"backbone=.*Own.*load_from_checkpoint\(path, backbone="):
        FinetuneModule.load_from_checkpoint(tmp_path / "x.ckpt")
    again = FinetuneModule.load_from_checkpoint(tmp_path / "x.ckpt", backbone=Own())
    assert torch.equal(again.model.head.weight, module.model.head.weight)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (ImageBatch(torch.rand(2, 3, 32, 32) * 255, torch.tensor([0, 1])), r"images must be floats in \[0, 1\]"),
        (ImageBatch(torch.rand(2, 3, 32, 32), torch.tensor([0, 7])), "target 7, but the model num_classes=4"),
        (ImageBatch(torch.rand(2, 3, 32, 32), torch.zeros(2, 6)), "6 classes, but the model num_classes=4"),
    ],
)
def test_bad_batches_get_a_sentence(trainer, batch, message):
    with pytest.raises(ValueError, match=message):
        trainer(max_steps=1).fit(FinetuneModule(backbone(), 4), DataLoader([batch], batch_size=None))


def test_an_image_size_that_the_backbone_refuses_gets_a_sentence(trainer):
    batch = ImageBatch(torch.rand(2, 3, 65, 65), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="refuses images of 65x65 pixels.*image_size"):
        trainer(max_steps=1).fit(FinetuneModule(backbone("test_vit"), 4), DataLoader([batch], batch_size=None))


def test_balanced_weights_come_from_the_training_labels(trainer):
    module = FinetuneModule(backbone(), 4, class_weights="balanced")
    data = FakeData(image_size=32)
    trainer(max_steps=1).fit(module, data)
    counts = data.class_counts
    torch.testing.assert_close(module.loss.class_weight, counts.sum() / (4 * counts))
    named = FinetuneModule(backbone(), 2, class_weights={"b": 3.0}, class_names=["a", "b"])
    assert named.loss.class_weight.tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match=r"class_weights names \['c'\]"):
        FinetuneModule(backbone(), 2, class_weights={"c": 3.0}, class_names=["a", "b"])


def test_metrics_are_those_of_the_predictions(trainer):
    module, data = FinetuneModule(backbone(), 4), FakeData(image_size=32)
    run = trainer(max_epochs=1)
    run.fit(module, data)
    (result,) = run.test(module, data, verbose=False)
    outputs = run.predict(module, data)
    right = torch.cat([(probability.argmax(1) == batch.target) for probability, batch in outputs]).float().mean()
    assert result["test/accuracy"] == pytest.approx(right.item())
    assert {"test/loss", "test/accuracy_macro", "test/f1", "test/ece"} <= set(result)


def test_channels_last_changes_nothing_but_speed():
    plain = FinetuneModule(backbone(), 4, channels_last=False).eval()
    other = FinetuneModule(backbone(), 4).eval()
    other.load_state_dict(plain.state_dict())
    other.setup("test")
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(other(image).logits, plain(image).logits)


def test_default_construction_by_name():
    with pytest.warns(UserWarning, match="RANDOM"):  # there is no network in tests
        module = FinetuneModule(backbone="resnet18", num_classes=10)
    assert module(torch.rand(1, 3, 64, 64)).logits.shape == (1, 10)
