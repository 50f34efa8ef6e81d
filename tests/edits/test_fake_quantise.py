from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import Adam
from torch.testing import assert_close

from lightning_transfer import DistillModule, FinetuneModule, Optim, TimmBackbone
from lightning_transfer.callbacks import EMA
from lightning_transfer.data import FakeData
from lightning_transfer.edits import FakeQuantise, StartFrom
from lightning_transfer.losses.distill import SoftTargetKL
from lightning_transfer.quantisation import ActivationQuantiser, QuantisedLayer
from lightning_transfer.teachers import TimmTeacher

RECIPE = Optim(partial(Adam, lr=0.001), schedule=None)


def data(**options):
    return FakeData(image_size=32, num_workers=0, batch_size=8, **options)


def quantised(name="test_resnet", **options):
    edit = FakeQuantise(**options)
    return FinetuneModule(TimmBackbone(name, pretrained=False), 4, RECIPE, edits=[edit], image_size=32)


def quantisers(module):
    return {name: m for name, m in module.named_modules() if isinstance(m, ActivationQuantiser)}


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
def test_eight_bits_change_answers_little_and_two_bits_a_lot(adapted, name):
    changes = {}
    for bits in (8, 2):
        with torch.no_grad():
            module, twin = adapted(name, FakeQuantise(bits, bits, targets=""))
            image = torch.rand(8, 3, 32, 32)
            expected = twin.eval()(image).logits
            module.train()(image)
            changes[bits] = ((module.eval()(image).logits - expected).norm() / expected.norm()).item()
    assert 0 < changes[8] < 0.1
    assert changes[2] > 0.3 > 3 * changes[8]


def test_where_it_rounds(adapted):
    module, _ = adapted("test_resnet", FakeQuantise())
    layers = {name: m for name, m in module.model.named_modules() if isinstance(m, QuantisedLayer)}
    block = "backbone.model.layer1.0"
    assert len(layers) == 16
    assert layers["head"].behind is None  # a linear layer can return floats
    assert layers[f"{block}.conv1"].behind is None  # the next convolution rounds, through a ReLU
    assert layers[f"{block}.conv2"].behind is not None  # a sum is no layer
    assert "base.bias" in dict(layers[f"{block}.conv1"].named_parameters())  # of the norm
    assert not any(isinstance(m, nn.BatchNorm2d) for m in module.modules())


def test_first_convolution_and_head_keep_eight_bits(adapted):
    module, _ = adapted("test_efficientnet", FakeQuantise(4, 3))
    layers = {name: m for name, m in module.model.named_modules() if isinstance(m, QuantisedLayer)}
    bits = {name: (layer.bits, layer.before.bits) for name, layer in layers.items()}
    assert bits.pop("backbone.model.conv_stem") == bits.pop("head") == (7, 8)
    assert {*bits.values()} == {(4, 3)}
    module, _ = adapted("test_efficientnet", FakeQuantise(4, 3, targets="conv_pw|^head"))
    found = {name: m.bits for name, m in module.model.named_modules() if isinstance(m, QuantisedLayer)}
    assert found
    assert all(("conv_pw" in name or name == "head") and b == 4 for name, b in found.items())


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit"])
def test_training_lowers_the_loss_and_fixes_ranges(trainer, name):
    module = quantised(name, weight_bits=4, batches=6)
    losses, ranges = [], []

    class Watched(EMA):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            losses.append(outputs["loss"].item())
            ranges.append(torch.stack([q.high.clone() for q in quantisers(pl_module).values()]))

    module.optim = Optim(partial(Adam, lr=0.003), schedule=None)
    trainer(max_epochs=12, callbacks=[Watched(0.5)], limit_val_batches=1).fit(module, data())
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert not torch.equal(ranges[3], ranges[4])
    assert torch.equal(ranges[6], ranges[-1])
    assert {int(q.seen) for q in quantisers(module).values()} == {6}


def test_a_checkpoint_alone_rebuilds_it_and_a_resumed_training_equals_an_unbroken_one(trainer, halt_after, tmp_path):
    torch.manual_seed(0)
    source = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, RECIPE, image_size=32)
    run = trainer(max_epochs=1)
    run.fit(source, data())
    run.save_checkpoint("float.ckpt")

    def make():
        torch.manual_seed(1)
        edits = [StartFrom("float.ckpt", ""), FakeQuantise(batches=10)]
        return FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, RECIPE, edits=edits, image_size=32)

    whole, broken, resumed = make(), make(), make()
    with torch.no_grad():
        image = torch.rand(4, 3, 32, 32)
        assert_close(
            whole.eval()(image).logits, source.eval()(image).logits, rtol=0.05, atol=0.05
        )  # weights are rounded
    trainer(max_epochs=4).fit(whole.train(), data())
    run = trainer(max_epochs=4, callbacks=[halt_after(1)])
    run.fit(broken, data())
    run.save_checkpoint("half.ckpt")
    (tmp_path / "float.ckpt").unlink()
    run = trainer(max_epochs=4)
    run.fit(resumed, data(), ckpt_path="half.ckpt", weights_only=True)
    run.save_checkpoint("whole.ckpt")
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())
    loaded = FinetuneModule.load_from_checkpoint("whole.ckpt").eval()
    with torch.no_grad():
        assert torch.equal(loaded(image).logits, resumed.eval()(image).logits)


def test_a_student_learns_with_rounded_weights(trainer):
    teacher = TimmTeacher("test_vit", pretrained=False, options={"num_classes": 4, "img_size": 32})
    backbone = TimmBackbone("test_efficientnet", pretrained=False)
    losses = {"soft": SoftTargetKL()}
    module = DistillModule(backbone, teacher, 4, losses, optim=RECIPE, edits=[FakeQuantise()], image_size=32)
    before = {name: p.clone() for name, p in module.model.named_parameters()}
    module.on_train_start = lambda: None  # an untrained teacher would be refused
    trainer(max_epochs=1).fit(module, data())
    assert any(not torch.equal(p, before[name]) for name, p in module.model.named_parameters())
    assert all(q.seen > 0 for q in quantisers(module.model).values())


def test_complaints(adapted, complaint):
    for options, said in (
        ({"weight_bits": 1}, "weight_bits=1"), ({"activation_bits": 16}, "activation_bits=16"), ({"batches": 0}, "batches=0"),
        ({"targets": "("}, "no regular expression"), ({"image_size": 0}, "image_size=0"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            FakeQuantise(**options)
    with pytest.raises(
        ValueError, match=r"targets='nothing'\) matches no linear layer or convolution; there are backbone"
    ):
        adapted("test_resnet", FakeQuantise(targets="nothing"))
    with pytest.raises(ValueError, match="quantised already"):
        adapted("test_resnet", FakeQuantise(), FakeQuantise())
    with pytest.raises(ValueError, match="refuses 40x40 pixels"):
        adapted("test_vit", FakeQuantise(image_size=40))


def test_it_cannot_be_merged(trainer, complaint):
    run = trainer(max_steps=1)
    run.fit(quantised(), data())
    run.save_checkpoint("x.ckpt")
    assert "no weight of the model can round its activations" in complaint(
        "merge", "--ckpt_path=x.ckpt", "--out=y.ckpt"
    )
