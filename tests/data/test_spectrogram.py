import math

import pytest
import torch

from lightning_transfer.data.spectrogram import LogMel, fitted, mel_filters

RATE = 16000


def sine(hertz, seconds=1.0, amplitude=0.5):
    return (
        amplitude
        * torch.sin(2 * math.pi * hertz * torch.arange(round(RATE * seconds), dtype=torch.float64) / RATE).float()
    )


def middle_of_band(hertz, bands=64):
    """The band, counted from 0, whose middle is nearest in mel; fractional."""
    mel = [2595 * math.log10(1 + f / 700) for f in (hertz, RATE / 2)]
    return mel[0] / mel[1] * (bands + 1) - 1


@pytest.mark.parametrize("hertz", [300, 1000, 2500, 6000])
def test_a_sine_is_brightest_in_its_band(hertz):
    image = LogMel()(sine(hertz))
    assert (image.shape, image.dtype) == ((1, 64, 101), torch.uint8)
    row = 63 - image[0, :, 50].int().argmax().item()
    assert abs(row - middle_of_band(hertz)) <= 0.6


def test_the_power_is_parsevals_where_triangles_add_up_to_one():
    wave, spectrogram = sine(1000), LogMel()
    column = 50
    start = column * spectrogram.hop - spectrogram.window // 2
    windowed = wave[start : start + spectrogram.window] * spectrogram.hann
    expected = spectrogram.points * windowed.square().sum() / 2  # half of the two-sided spectrum
    assert spectrogram.power(wave)[:, column].sum().item() == pytest.approx(expected.item(), rel=1e-3)
    torch.testing.assert_close(spectrogram.power(10 * wave), 100 * spectrogram.power(wave), rtol=1e-4, atol=1e-3)


def test_triangles_add_up_to_one_between_the_outer_middles():
    filters = mel_filters(1025, 40, RATE).double()
    hertz = torch.linspace(0, RATE / 2, 1025)
    inner = torch.tensor([0 <= middle_of_band(f, 40) <= 39 for f in hertz.tolist()])
    torch.testing.assert_close(filters.sum(0)[inner], torch.ones(int(inner.sum()), dtype=torch.float64))
    assert filters.min() == 0


def test_loudness_is_in_decibels_below_the_loudest():
    wave = torch.cat([sine(1000, 0.5), sine(1000, 0.5, amplitude=0.05)])
    image = LogMel(decibels=80)(wave)
    assert image[..., 10:40].max() == 255
    assert image[..., 65:90].max().item() == pytest.approx(255 * (1 - 20 / 80), abs=2)
    assert torch.equal(image, LogMel()(wave / 7))


def test_silence_is_black():
    assert not LogMel()(torch.zeros(RATE)).any()
    assert not LogMel()(torch.zeros(0)).any()
    half = LogMel()(torch.cat([sine(500, 0.5), torch.zeros(RATE // 2)]))
    assert not half[..., 55:].any()


def test_later_by_some_hops_is_further_right_by_as_many_columns():
    spectrogram, burst = LogMel(), torch.randn(4000)
    first, later = (torch.cat([torch.zeros(n), burst, torch.zeros(RATE - 4000 - n)]) for n in (3200, 3200 + 7 * 160))
    assert torch.equal(spectrogram(first)[..., 10:90], spectrogram(later)[..., 17:97])


def test_every_length_gives_one_shape():
    wave = torch.arange(1.0, 11.0)
    assert fitted(wave, 4).tolist() == [1, 2, 3, 4]
    assert fitted(wave[:3], 6).tolist() == [0, 1, 2, 3, 0, 0]
    assert fitted(wave, 10) is not None
    shapes = {LogMel(seconds=0.5)(torch.randn(n)).shape for n in (100, 8000, 20000)}
    assert shapes == {(1, 64, 51)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "rate=0"),
        ({"seconds": -1}, "seconds=-1"),
        ({"decibels": 0}, "decibels=0"),
        ({"bands": 400}, r"bands=400 .* more than a window of 0.025 s tells apart at rate=16000; at most \d+ would do"),
    ],
)
def test_values_out_of_range_get_a_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        LogMel(**options)
