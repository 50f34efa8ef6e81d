import pytest
import torch

from lightning_transfer.data import ContrastiveTransform

OFF = {"scale": (1.0, 1.0), "flip": 0.0, "colour": 0.0, "grey": 0.0, "blur": 0.0}
IMAGE = torch.randint(0, 256, (3, 40, 40), dtype=torch.uint8)


def changed(size=40, **options):
    return ContrastiveTransform(size, **{**OFF, **options})(IMAGE)


@pytest.mark.parametrize("side", [8, 28, 64])
def test_makes_pictures_of_a_size_for_any_size(side):
    found = ContrastiveTransform(side, blur=1.0, solarise=1.0, rotation=10.0)(IMAGE)
    assert (found.shape, found.dtype) == ((3, side, side), torch.uint8)
    assert ContrastiveTransform(side, pixels=6)(IMAGE).shape == (3, 6, 6)


def test_without_strengths_nothing_but_the_crop_is_left():
    found = [ContrastiveTransform(40, **OFF).steps[i] for i in range(len(ContrastiveTransform(40, **OFF).steps))]
    assert [type(step).__name__ for step in found] == ["RandomResizedCrop"]


def test_flips_and_greys_and_solarises():
    whole = {"scale": (1.0, 1.0)}
    square = [ContrastiveTransform(40, **{**OFF, **whole}), ContrastiveTransform(40, **{**OFF, **whole, "flip": 1.0})]
    torch.manual_seed(0)
    plain = square[0](IMAGE)
    torch.manual_seed(0)
    assert torch.equal(square[1](IMAGE), plain.flip(-1))
    grey = changed(grey=1.0)
    assert torch.equal(grey[0], grey[1])
    torch.manual_seed(0)
    inverted = changed(solarise=1.0)
    assert torch.equal(inverted, torch.where(plain >= 128, 255 - plain, plain))


def test_a_blur_smooths_and_more_in_larger_pictures():
    torch.manual_seed(0)
    plain = changed(80).float()
    torch.manual_seed(0)
    blurred = changed(80, blur=1.0, blur_deviation=(0.02, 0.02)).float()
    assert blurred.std() < 0.9 * plain.std()
    assert blurred.mean() == pytest.approx(plain.mean().item(), rel=0.02)


def test_colours_change_as_often_as_is_said():
    torch.manual_seed(0)
    grey_world = torch.full((3, 8, 8), 128, dtype=torch.uint8)
    often = ContrastiveTransform(8, **{**OFF, "colour": 0.5, "colour_probability": 0.3})
    share = sum(not torch.equal(often(grey_world), grey_world) for _ in range(300)) / 300
    assert share == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"flip": 2.0}, r"flip=2.0 of ContrastiveTransform is a probability and lies in \[0, 1\]"),
        ({"scale": (0.5, 0.2)}, "scale=.*shares of the area"),
        ({"colour": 3.0}, "colour=3.0 of ContrastiveTransform"),
        ({"blur_deviation": (0.0, 1.0)}, "blur_deviation=.*must be positive"),
        ({"pixels": 0}, "pixels=0 of ContrastiveTransform must be at least 1"),
    ],
)
def test_refuses(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ContrastiveTransform(32, **options)
