import pytest
import torch

from lightning_transfer.backbones import MLPBackbone


def test_is_a_chain_of_matrices_and_rectifiers_on_grey_pixels():
    backbone = MLPBackbone([5, 3], image_size=4).eval()
    first, second = backbone.layers[1], backbone.layers[4]
    image = torch.rand(2, 3, 4, 4)
    hidden = (image.mean(1).flatten(1) @ first.weight.T + first.bias).relu()
    expected = (hidden @ second.weight.T + second.bias).relu()
    torch.testing.assert_close(backbone(image).embedding, expected)
    assert backbone.num_features == 3
    assert backbone.stages() == {
        "layers.1.weight": 0, "layers.1.bias": 0, "layers.4.weight": 1, "layers.4.bias": 1,
    }  # fmt: skip


def test_leaves_out_pixels_and_units_in_training_alone():
    backbone = MLPBackbone([400], dropout=0.25, pixel_dropout=0.5, image_size=8)
    image = torch.ones(1, 3, 8, 8)
    pixels, hidden = backbone.layers[0](image), backbone.layers[3](torch.ones(1, 100_000))
    assert set(pixels.unique().tolist()) == {0.0, 2.0}
    assert (hidden == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    backbone.eval()
    assert torch.equal(backbone(image).embedding, backbone(image).embedding)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"widths": []}, "widths=\\[\\] must be the units"),
        ({"widths": [3, 0]}, "widths=\\[3, 0\\]"),
        ({"widths": [3], "dropout": 1.0}, "dropout=1.0 is a probability"),
        ({"widths": [3], "pixel_dropout": -0.1}, "pixel_dropout=-0.1"),
    ],
)
def test_refuses_what_makes_no_network(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        MLPBackbone(**arguments)


def test_takes_another_size_before_training_and_refuses_others_later():
    backbone = MLPBackbone([3])
    backbone.set_image_size(5)
    assert backbone(torch.rand(1, 3, 5, 5)).embedding.shape == (1, 3)
    with pytest.raises(ValueError, match="image_size=5, but the images are 28x28"):
        backbone(torch.rand(1, 3, 28, 28))
