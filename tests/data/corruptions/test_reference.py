"""Each corruption beside the code that made ImageNet-C, whose numbers for one image these are.

They come from github.com/hendrycks/robustness, and for motion_blur and snow from github.com/bethgelab/imagecorruptions, which needs no
ImageMagick; normal draws are all 0.8 deviations above the mean, uniform ones the upper limit, and the angle is 30 degrees.
"""

import pytest
import torch

from lightning_transfer.data import Corruption
from lightning_transfer.data.corruptions import CORRUPTIONS
from lightning_transfer.data.corruptions.blur import defocus_blur

PLACES = ((0, 0, 0), (1, 10, 200), (2, 111, 112), (0, 223, 5))  # channel, row, column
EXPECTED = {  # of 255, at severities 1 to 5
    "gaussian_noise": (
        (16.32, 221.32, 180.32, 19.32),
        (24.48, 229.48, 188.48, 27.48),
        (36.72, 241.72, 200.72, 39.72),
        (53.04, 255, 217.04, 56.04),
        (77.52, 255, 241.52, 80.52),
    ),
    "speckle_noise": (
        (0, 229.6, 183.68, 3.36),
        (0, 237.8, 190.24, 3.48),
        (0, 255, 209.92, 3.84),
        (0, 255, 223.04, 4.08),
        (0, 255, 242.72, 4.44),
    ),
    "gaussian_blur": (
        (4.37, 171, 162.3, 107.42),
        (9.42, 131.91, 139.54, 118.94),
        (14.4, 125.56, 129.13, 116.26),
        (19.42, 125.19, 127.8, 113.15),
        (29.61, 123.77, 127.59, 111.28),
    ),
    "motion_blur": (
        (15.51, 115.63, 144.62, 83.9),
        (28.77, 113.83, 133.24, 104.41),
        (50.02, 122.09, 127.56, 115.28),
        (72.87, 126.72, 123.64, 120.82),
        (83.24, 127.56, 123.29, 122.25),
    ),
    "zoom_blur": (
        (67.85, 137.09, 150.35, 93.27),
        (95, 129.65, 146.03, 112.09),
        (83.42, 124.16, 149.32, 107.05),
        (81.29, 119.67, 149.51, 115.04),
        (84.33, 139.84, 143.4, 114.61),
    ),
    "snow": (
        (35.28, 248.78, 191.68, 38.58),
        (52.92, 255, 205.52, 56.37),
        (52.92, 255, 205.52, 56.37),
        (61.74, 255, 212.44, 65.26),
        (79.38, 255, 226.28, 83.05),
    ),
    "fog": (
        (0, 201.57, 196.16, 92.2),
        (0, 201.18, 199.73, 102.11),
        (0, 205.98, 201.16, 117.04),
        (0, 209.81, 199.26, 124.64),
        (0, 212.26, 199.54, 135.95),
    ),
    "brightness": (
        (0, 213.37, 189.5, 3.92),
        (0, 213.37, 215, 4.84),
        (0, 213.37, 240.5, 5.77),
        (0, 213.37, 255, 6.69),
        (0, 213.37, 255, 7.61),
    ),
    "contrast": (
        (76.4, 158.47, 142.11, 77.6),
        (89.13, 150.71, 138.47, 90.03),
        (101.86, 142.96, 134.82, 102.46),
        (114.6, 135.2, 131.17, 114.9),
        (120.96, 131.32, 129.35, 121.11),
    ),
    "elastic_transform": (
        (232.8, 216.36, 65.96, 44.6),
        (119.84, 106.4, 206.12, 37.4),
        (97.57, 78.58, 55.43, 189.31),
        (174.2, 91.2, 79.79, 103.11),
        (148.18, 157.13, 52.21, 202.02),
    ),
    "pixelate": (
        (7, 224, 163, 86),
        (7, 167, 163, 168),
        (12, 161, 165, 98),
        (12, 154, 165, 142),
        (19, 145, 160, 126),
    ),
    "jpeg_compression": (
        (0, 227, 147, 85),
        (8, 221, 194, 101),
        (6, 210, 213, 79),
        (9, 232, 203, 110),
        (6, 194, 136, 79),
    ),
    "saturate": (
        (56, 233, 164, 59),
        (72, 241, 164, 75),
        (0, 165, 164, 0),
        (0, 122.5, 164, 0),
        (0, 122.5, 164, 0),
    ),
}
ROUNDED = {"pixelate": 1, "jpeg_compression": 1, "elastic_transform": 0.2}  # to bytes, or in places between pixels


def image():
    c, y, x = torch.meshgrid(torch.arange(3), torch.arange(224), torch.arange(224), indexing="ij")
    return ((3 * x * y // 16 + 5 * x + 7 * y + 40 * c) % 256).to(torch.uint8)


@pytest.mark.parametrize("name", EXPECTED)
def test_is_that_of_the_original(name, monkeypatch):
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.full_like(x, 0.8))
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda x, low, high: x.fill_(30 if x.ndim == 0 else high))
    for severity, expected in enumerate(EXPECTED[name], 1):
        found = 255 * Corruption(name, severity)(image())
        # the original's shear mirrors the image without the pixels at the border
        some = slice(1, 3) if name == "elastic_transform" else slice(None)
        there = [found[place].item() for place in PLACES[some]]
        assert there == pytest.approx(expected[some], abs=ROUNDED.get(name, 0.01)), severity


def test_a_point_out_of_focus_is_as_wide_as_in_the_original():
    point = torch.zeros(1, 224, 224)
    point[0, 112, 112] = 1
    distance = torch.arange(224) - 112
    seconds = (
        2.345,
        4.131,
        9.222,
        16.128,
        25.759,
    )  # of the original's kernels, which are hard discs blurred by their sigma
    for radius, expected in zip(CORRUPTIONS["defocus_blur"][1], seconds, strict=True):
        blurred = defocus_blur(point, radius)
        assert blurred.sum().item() == pytest.approx(1, abs=1e-5)
        assert (blurred * distance.square()).sum().item() == pytest.approx(expected, rel=0.03)


def test_counted_and_broken_values_are_as_many_as_in_the_original():
    grey = torch.full((3, 100, 100), 0.5)
    for severity, (photons, share) in enumerate(
        zip((60, 25, 12, 5, 3), (0.03, 0.06, 0.09, 0.17, 0.27), strict=True), 1
    ):
        broken = Corruption("impulse_noise", severity)(grey)
        assert (broken != grey).float().mean().item() == pytest.approx(share, rel=0.05)
        assert torch.equal(broken.unique(), torch.tensor([0, 0.5, 1]))
        counted = CORRUPTIONS["shot_noise"][0](grey, CORRUPTIONS["shot_noise"][1][severity - 1]) * photons
        torch.testing.assert_close(counted, counted.round(), atol=1e-4, rtol=0)
        assert counted.var().item() == pytest.approx(photons / 2, rel=0.05)
