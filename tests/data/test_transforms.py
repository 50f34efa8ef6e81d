import pytest
import torch

from lightning_transfer.data import EvalTransform, ShiftTransform, TrainTransform
from lightning_transfer.parts import describe

# columns darken from left to right, so a mirrored image is known by its first column
RAMP = torch.linspace(255, 0, 40).to(torch.uint8).expand(3, 30, 40)


@pytest.mark.parametrize("make", [TrainTransform, EvalTransform, ShiftTransform])
def test_bytes_in_bytes_of_the_size_out(make):
    image = make(16)(RAMP)
    assert image.shape == (3, 16, 16)
    assert image.dtype == torch.uint8


@pytest.mark.parametrize(("flip", "mirrored"), [(0.0, False), (1.0, True)])
def test_mirrors_as_often_as_asked(flip, mirrored):
    for _ in range(10):
        image = TrainTransform(16, flip=flip)(RAMP).int()
        assert bool(image[0, 8, 0] < image[0, 8, -1]) == mirrored


def test_shifts_by_no_more_than_asked_over_black():
    dot = torch.zeros(3, 9, 9, dtype=torch.uint8)
    dot[:, 4, 4] = 255
    torch.manual_seed(0)
    found = {tuple((ShiftTransform(9, pixels=2)(dot)[0] == 255).nonzero()[0].tolist()) for _ in range(400)}
    assert found == {(row, column) for row in range(2, 7) for column in range(2, 7)}
    assert torch.equal(ShiftTransform(9, pixels=0)(dot), dot)
    with pytest.raises(ValueError, match="pixels=9 of ShiftTransform must lie in 0 to 8"):
        ShiftTransform(9, pixels=9)


def test_rotation_turns_and_none_does_not():
    whole = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}
    square = RAMP[:, :, :30]
    assert torch.equal(TrainTransform(30, **whole)(square), square)
    assert not torch.equal(TrainTransform(30, **whole, rotation=30)(square), square)


@pytest.mark.parametrize("auto", ["rand", "trivial", "augmix"])
def test_changes_shape_and_colour_and_depends_on_the_seed_alone(auto):
    whole = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}
    transform, square = TrainTransform(30, **whole, auto=auto), RAMP[:, :, :30]

    def drawn(seed):
        torch.manual_seed(seed)
        return transform(square)

    images = [drawn(seed) for seed in range(8)]
    assert all(image.shape == (3, 30, 30) and image.dtype == torch.uint8 for image in images)
    assert sum(not torch.equal(image, square) for image in images) >= 4
    assert all(torch.equal(drawn(seed), image) for seed, image in enumerate(images))


def test_the_strongest_change_is_stronger_than_the_least():
    whole = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}
    square, change = RAMP[:, :, :30].float(), {}
    for magnitude in (1, 30):
        torch.manual_seed(0)
        transform = TrainTransform(30, **whole, auto="rand", magnitude=magnitude)
        change[magnitude] = sum((transform(RAMP[:, :, :30]) - square).abs().mean().item() for _ in range(30))
    assert change[30] > 2 * change[1]


def test_erases_last_and_with_grey():
    grey = torch.tensor([124, 116, 104], dtype=torch.uint8)
    holes = [(TrainTransform(16, auto="rand", erase=1.0)(RAMP) == grey[:, None, None]).all(0).sum() for _ in range(10)]
    assert all(hole >= 4 for hole in holes)  # nothing that comes after it has changed it
    assert (TrainTransform(16, erase=0.0)(RAMP) == grey[:, None, None]).all(0).sum() == 0


def test_the_order_is_that_of_the_field():
    steps = TrainTransform(8, rotation=5, auto="trivial", erase=0.5).steps
    assert [type(step).__name__ for step in steps] == [
        "RandomResizedCrop", "RandomHorizontalFlip", "RandomRotation", "TrivialAugmentWide", "RandomErasing",
    ]  # fmt: skip
    assert [type(step).__name__ for step in TrainTransform(8).steps] == ["RandomResizedCrop", "RandomHorizontalFlip"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auto": "rand", "magnitude": 31}, "magnitude=31 lies in 0 to 30"),
        ({"auto": "rand", "magnitude": -1}, "magnitude=-1 lies in 0 to 30"),
        ({"magnitude": 9}, "magnitude=9 is the strength of auto=rand, but auto=none has none"),
        ({"auto": "trivial", "magnitude": 9}, "but auto=trivial has none"),
        ({"auto": "auto"}, "auto='auto' must be one of none, rand, trivial, augmix"),
        ({"erase": 1.5}, r"erase=1\.5 is a probability"),
    ],
)
def test_refuses_what_it_cannot_do(options, message):
    with pytest.raises(ValueError, match=message):
        TrainTransform(16, **options)


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
