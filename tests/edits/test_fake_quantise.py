import pytest
import torch

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.data import FakeData
from lightning_transfer.edits import FakeQuantise, StartFrom
from lightning_transfer.quantisation.layer import quantised_layers


def shown(module, images):
    """Let the ranges follow some images, as training does."""
    module.train()
    with torch.no_grad():
        module(images)
    return module.eval()


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_many_bits_change_little_and_few_a_lot(adapted, name):
    images = torch.rand(8, 3, 32, 32)
    differences = []
    for bits in (8, 2):
        options = {"img_size": 32} if name == "test_vit" else {}
        module, plain = adapted(name, **options)
        FakeQuantise(bits, bits, batches=5)(module.model)
        with torch.no_grad():
            expected = plain.eval()(images).logits
            found = shown(module, images)(images).logits
        differences.append(((found - expected).std() / expected.std()).item())
    assert differences[0] < 0.1 < differences[1]


def test_it_trains_and_its_checkpoint_alone_rebuilds_it(trainer, tmp_path):
    data = FakeData(image_size=32, num_workers=0)
    dense = FinetuneModule(TimmBackbone("test_efficientnet", pretrained=False), 4, image_size=32)
    run = trainer(max_epochs=1)
    run.fit(dense, data)
    run.save_checkpoint(tmp_path / "dense.ckpt")
    edits = [StartFrom(str(tmp_path / "dense.ckpt"), parameters=""), FakeQuantise(batches=2)]
    module = FinetuneModule(TimmBackbone("test_efficientnet", pretrained=False), 4, edits=edits, image_size=32)
    run = trainer(max_epochs=8)
    run.fit(module, data)
    layers = quantised_layers(module.model)
    assert layers
    assert all(layer.before.seen == 2 for layer in layers.values())
    run.save_checkpoint(tmp_path / "x.ckpt")
    (tmp_path / "dense.ckpt").unlink()
    again = FinetuneModule.load_from_checkpoint(tmp_path / "x.ckpt").eval()
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(again(images).logits, module.eval()(images).logits)
    (before,) = trainer(max_epochs=1).test(dense, data, verbose=False)
    (after,) = run.test(module, data, verbose=False)
    assert after["test/loss"] < before["test/loss"] + 0.1


def test_first_and_last_layers_keep_eight_bits(adapted):
    module, other = adapted("test_resnet")
    FakeQuantise(3, 3)(module.model)
    layers = quantised_layers(module.model)
    first, *_, last = layers
    assert {(layers[n].bits, layers[n].before.bits) for n in (first, last)} == {(7, 8)}
    assert {layer.bits for name, layer in layers.items() if name not in (first, last)} == {3}
    FakeQuantise(3, 3, targets="head")(other.model)
    assert {name: layer.bits for name, layer in quantised_layers(other.model).items()} == {"head": 3}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weight_bits": 1}, r"weight_bits=1 .* must lie in 2 to 8"),
        ({"activation_bits": 9}, r"activation_bits=9 .* must lie in 2 to 8"),
        ({"batches": 0}, "batches=0 .* must be at least 1"),
        ({"image_size": 0}, "image_size=0 .* must be at least 1"),
        ({"targets": "("}, "is no regular expression"),
    ],
)
def test_refuses_values(options, said):
    with pytest.raises(ValueError, match=said):
        FakeQuantise(**options)


def test_refuses_models(adapted):
    with pytest.raises(ValueError, match="matches no linear layer or convolution; there are backbone"):
        adapted("test_resnet", FakeQuantise(targets="nowhere"))
    with pytest.raises(ValueError, match="is quantised already"):
        adapted("test_resnet", FakeQuantise(), FakeQuantise())
    with pytest.raises(ValueError, match="cannot be merged"):
        FakeQuantise.fold(adapted("test_resnet")[0].model)
