import pytest
import torch

from lightning_transfer.data import EvalTransform, TrainTransform
from lightning_transfer.parts import describe

# columns darken from left to right, so a mirrored image is known by its first column
RAMP = torch.linspace(255, 0, 40).to(torch.uint8).expand(3, 30, 40)


@pytest.mark.parametrize("make", [TrainTransform, EvalTransform])
def test_bytes_in_bytes_of_the_size_out(make):
    image = make(16)(RAMP)
    assert image.shape == (3, 16, 16)
    assert image.dtype == torch.uint8


@pytest.mark.parametrize(("flip", "mirrored"), [(0.0, False), (1.0, True)])
def test_mirrors_as_often_as_asked(flip, mirrored):
    for _ in range(10):
        image = TrainTransform(16, flip=flip)(RAMP).int()
        assert bool(image[0, 8, 0] < image[0, 8, -1]) == mirrored


def test_rotation_turns_and_none_does_not():
    whole = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}
    square = RAMP[:, :, :30]
    assert torch.equal(TrainTransform(30, **whole)(square), square)
    assert not torch.equal(TrainTransform(30, **whole, rotation=30)(square), square)


def test_evaluation_takes_the_middle():
    image = torch.zeros(3, 16, 32, dtype=torch.uint8)
    image[:, :, 8:24] = 200
    assert EvalTransform(16, crop=1.0)(image).unique().tolist() == [200]
    image[:, 1:-1, 9:23] = 100  # a frame of one pixel around the middle, which a tighter crop leaves out
    assert EvalTransform(14, crop=0.875)(image).unique().tolist() == [100]


def test_refuses_a_crop_outside_the_image():
    with pytest.raises(ValueError, match=r"crop=1.2 .*\(0, 1\]"):
        EvalTransform(16, crop=1.2)


def test_is_described_by_plain_data():
    assert describe(TrainTransform(8, flip=0.0))["init_args"]["flip"] == 0.0
