import math
import sys

import pytest
import torch

from lightning_transfer.data.recordings import SoundSource, read_sound, resampled
from lightning_transfer.data.spectrogram import LogMel


@pytest.fixture
def write(tmp_path):
    soundfile = pytest.importorskip("soundfile")

    def write(name, wave, rate=16000):
        soundfile.write(tmp_path / name, wave.numpy(), rate, subtype="FLOAT" if name.endswith("wav") else None)
        return tmp_path / name

    return write


def sine(hertz, rate, seconds=0.5):
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(round(rate * seconds)) / rate)


def test_reads_what_was_written_and_averages_channels(write):
    wave = torch.randn(500, 2) / 10
    torch.testing.assert_close(read_sound(write("a.wav", wave), 16000), wave.mean(1))
    (compressed,) = [read_sound(write("a.ogg", sine(440, 16000)), 16000)]
    torch.testing.assert_close(compressed, sine(440, 16000), atol=0.05, rtol=0)


@pytest.mark.parametrize(("own", "rate"), [(48000, 16000), (8000, 16000), (44100, 16000)])
def test_resampling_keeps_a_sine(own, rate):
    torch.testing.assert_close(resampled(sine(400, own), own, rate), sine(400, rate), atol=2e-3, rtol=0)


def test_resampling_drops_what_the_new_rate_cannot_hold():
    assert resampled(sine(6000, 16000), 16000, 8000).abs().max() < 1e-3
    wave = torch.randn(100)
    assert resampled(wave, 16000, 16000) is wave


def test_what_is_no_sound_gets_a_sentence(write, tmp_path):
    (tmp_path / "text.ogg").write_text("no sound")
    whole = write("whole.ogg", sine(440, 16000)).read_bytes()
    (tmp_path / "torn.ogg").write_bytes(whole[:60])
    for name in ("text.ogg", "torn.ogg"):
        with pytest.raises(ValueError, match=rf"{name} cannot be read as a sound: \w"):
            read_sound(tmp_path / name, 16000)
    with pytest.raises(ValueError, match="it is empty"):
        read_sound(write("empty.wav", torch.zeros(0)), 16000)
    with pytest.raises(FileNotFoundError, match="gone.ogg does not exist"):
        read_sound(tmp_path / "gone.ogg", 16000)


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ModuleNotFoundError, match=r'soundfile: pip install "lightning_transfer\[audio\]"'):
        read_sound(tmp_path / "a.ogg", 16000)


def test_a_source_gives_grey_images_and_its_version_knows_the_spectrogram(write):
    paths = [write("a.wav", sine(440, 16000)), write("b.wav", sine(880, 16000))]
    source = SoundSource(paths, LogMel(bands=32), torch.tensor([1, 0]))
    assert source.image(0).shape == (3, 32, 101)
    assert torch.equal(source.image(1)[0], LogMel(bands=32)(sine(880, 16000))[0])
    assert source.version(0) != SoundSource(paths, LogMel(bands=33)).version(0)
    assert SoundSource(paths, LogMel()).targets.tolist() == [-1, -1]
