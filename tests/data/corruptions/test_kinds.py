"""Each corruption against what its constant says."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from lightning_transfer.data.corruptions.blur import convolve, enlarge, gaussian_filter, motion_blur, zoom_blur
from lightning_transfer.data.corruptions.blur import defocus_blur as defocus
from lightning_transfer.data.corruptions.digital import (
    contrast,
    elastic_transform,
    jpeg_compression,
    pixelate,
    saturate,
)
from lightning_transfer.data.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from lightning_transfer.data.corruptions.weather import brightness, fog, plasma

GREY = torch.full((3, 100, 100), 0.5)


def test_noises_have_their_deviation():
    for noisy, deviation in (
        (gaussian_noise(GREY, 0.2), 0.2),
        (speckle_noise(GREY, 0.2), 0.1),
        (shot_noise(GREY, 25), (0.5 / 25) ** 0.5),
    ):
        assert noisy.mean().item() == pytest.approx(0.5, abs=0.01)
        assert noisy.std().item() == pytest.approx(deviation, rel=0.03)
    changed = impulse_noise(GREY, 0.2)
    for value in (0, 1):
        assert (changed == value).float().mean().item() == pytest.approx(0.1, abs=0.01)


def test_blurs_keep_a_flat_image_and_spread_a_point():
    for blur in (
        lambda x: gaussian_filter(x, 300.0, "reflect", 3),
        lambda x: defocus(x, 10),
        lambda x: motion_blur(x, (20, 15)),
        lambda x: zoom_blur(x, (1.3, 0.03)),
        lambda x: enlarge(x, 4),
    ):
        torch.testing.assert_close(blur(GREY), GREY)
    point = torch.zeros(1, 225, 225)
    point[0, 112, 112] = 1
    axis = torch.arange(225) - 112.0
    blurred = gaussian_filter(point, 4, "reflect", 4)
    assert (blurred.sum(1) * axis.square()).sum().item() == pytest.approx(16, rel=0.05)
    disc = defocus(point[:, :224, :224], 6)  # of 224 pixels: the radius is 6 pixels
    assert (disc[0, 112] > 0).sum().item() == 13
    assert disc.sum().item() == pytest.approx(1, rel=1e-4)
    assert disc.max().item() == pytest.approx(1 / (torch.pi * 36), rel=0.02)


@pytest.mark.parametrize(("border", "name"), [("reflect", "reflect"), ("replicate", "nearest")])
@pytest.mark.parametrize("truncate", [3, 4])
def test_a_gaussian_wider_than_the_image_is_that_of_scipy(border, name, truncate):
    ndimage = pytest.importorskip("scipy.ndimage")
    noise = torch.rand(2, 20, 30)
    for sigma in (0.7, 5.0, 60.0):
        expected = np.stack(
            [ndimage.gaussian_filter(x, sigma, mode=name, truncate=truncate) for x in noise.double().numpy()]
        )
        found = gaussian_filter(noise, sigma, border, truncate)
        torch.testing.assert_close(found.double(), torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_motion_goes_one_way_along_its_angle():
    point = torch.zeros(1, 224, 224)
    point[0, 112, 112] = 1
    smeared = motion_blur(point, (20, 15), (0, 0))
    columns = smeared[0, 112].nonzero().flatten()
    assert smeared[0].sum(1).nonzero().flatten().tolist() == [112]
    assert columns.max() - columns.min() == 40
    assert 112 in (columns.min(), columns.max())


def test_convolution_is_a_mean_that_repeats_or_mirrors_the_border():
    image = torch.arange(9.0).view(1, 3, 3)
    kernel = torch.full((3, 3), 1 / 9)
    repeated, mirrored = convolve(image, kernel, "replicate"), convolve(image, kernel, "reflect")
    assert repeated[0, 1, 1].item() == mirrored[0, 1, 1].item() == pytest.approx(4)
    assert repeated[0, 0, 0].item() == pytest.approx((4 * 0 + 2 * 1 + 2 * 3 + 4) / 9)
    assert mirrored[0, 0, 0].item() == pytest.approx((0 + 2 * 1 + 2 * 3 + 4 * 4) / 9)


@pytest.mark.parametrize("value", [0.1, 0.5])
def test_brightness_and_saturation_are_those_of_hsv(value):
    image = torch.rand(3, 4, 5)
    image[:, 0, 0], image[:, 0, 1] = 0.4, 0.0
    bright, saturated = brightness(image, value).clamp(0, 1), saturate(image, (2 * value, 0.1))
    for y in range(4):
        for x in range(5):
            h, s, v = colorsys.rgb_to_hsv(*image[:, y, x].double().tolist())
            assert bright[:, y, x].tolist() == pytest.approx(colorsys.hsv_to_rgb(h, s, min(v + value, 1)), abs=1e-5)
            expected = colorsys.hsv_to_rgb(h, min(2 * value * s + 0.1, 1), v)
            assert saturated[:, y, x].tolist() == pytest.approx(expected, abs=1e-5)


def test_contrast_keeps_the_mean():
    image = torch.rand(3, 16, 16)
    found = contrast(image, 0.1)
    torch.testing.assert_close(found.mean((1, 2)), image.mean((1, 2)))
    torch.testing.assert_close(found.std((1, 2)), 0.1 * image.std((1, 2)))


def test_pixels_become_blocks_with_their_mean():
    image = torch.rand(3, 64, 64)
    found = pixelate(image, 0.25)
    blocks = image.unfold(1, 4, 4).unfold(2, 4, 4).mean((3, 4))
    torch.testing.assert_close(found, blocks.repeat_interleave(4, 1).repeat_interleave(4, 2))


@pytest.mark.parametrize("share", [0.6, 0.3])
def test_pixels_that_do_not_divide_the_side_are_those_of_pillow(share):
    image = torch.randint(256, (3, 50, 70), dtype=torch.uint8)
    picture = to_pil_image(image)
    small = picture.resize((int(70 * share), int(50 * share)), Image.Resampling.BOX)
    expected = pil_to_tensor(small.resize(picture.size, Image.Resampling.NEAREST))
    torch.testing.assert_close(255 * pixelate(image / 255, share), expected.float(), atol=1.01, rtol=0)


def test_jpeg_of_low_quality_has_blocks():
    image = torch.rand(3, 32, 32)
    fine, coarse = jpeg_compression(image, 95), jpeg_compression(image, 7)
    assert (fine - image).abs().mean() < (coarse - image).abs().mean()
    torch.testing.assert_close(coarse.mean(), image.mean(), atol=0.02, rtol=0)
    flat = jpeg_compression(GREY, 7)
    assert (flat - GREY).abs().max() <= 2 / 255


def test_a_cloud_is_rough_or_smooth_and_periodic():
    rough, smooth = plasma(64, 1.2), plasma(64, 3)
    for cloud in (rough, smooth, plasma(50, 2)):
        assert cloud.shape == (64, 64)
        assert (cloud.min(), cloud.max()) == (0, 1)
    steps = [(cloud - cloud.roll(1, 0)).abs() for cloud in (rough, smooth)]
    assert steps[0].mean() > 3 * steps[1].mean()
    assert steps[1][0].max() < 0.25  # from one border to the other as anywhere else
    torch.testing.assert_close(fog(GREY * 0, (2, 2)), GREY * 0)  # nothing to see in darkness


def test_elastic_warps_within_its_strength():
    column = torch.linspace(0, 1, 224).expand(3, 224, 224)
    for constant, most in (((0, 1, 0), 1e-5), ((0, 1, 0.02), 3 * 0.02 * 244 / 224 * 2), ((0.12, 0.01, 0), 0.05)):
        moved = (elastic_transform(column, constant) - column).abs()
        assert moved.max() <= most
        assert moved.max() > most / 100 or most < 1e-4


def test_elastic_displacements_are_the_same_share_at_any_size():
    spreads = []
    for size in (64, 224):
        torch.manual_seed(0)
        column = torch.linspace(0, 1, size).expand(3, size, size)
        inner = slice(size // 4, -size // 4)
        spreads.append((elastic_transform(column, (0.07, 0.02, 0)) - column)[:, inner, inner].std().item())
    assert spreads[0] == pytest.approx(spreads[1], rel=0.2)
