import numpy as np
import pytest
import torch
from PIL import Image

from lightning_transfer.data.images import decode, image_files


def test_transparency_lies_on_white(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGBA", (2, 2), (255, 0, 0, 255)).save(tmp_path / "solid.png")
    Image.new("LA", (2, 2), (0, 0)).save(tmp_path / "la.png")
    assert decode(tmp_path / "clear.png").unique().tolist() == [255]
    assert decode(tmp_path / "solid.png")[:, 0, 0].tolist() == [255, 0, 0]
    assert decode(tmp_path / "la.png").unique().tolist() == [255]


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 0, 200, 0])
    image.save(tmp_path / "solid.png")
    image.save(tmp_path / "clear.png", transparency=1)
    assert decode(tmp_path / "solid.png")[:, 0, 0].tolist() == [0, 200, 0]
    assert decode(tmp_path / "clear.png").unique().tolist() == [255]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path, suffix):
    pixels = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    Image.fromarray(pixels).save(tmp_path / f"deep.{suffix}")
    assert decode(tmp_path / f"deep.{suffix}")[:, 0].tolist() == [[0, 100, 255]] * 3


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "RGB"])
def test_other_modes_become_rgb(tmp_path, mode):
    Image.new("RGB", (3, 2), "white").convert(mode).save(tmp_path / "x.tif")
    image = decode(tmp_path / "x.tif")
    assert image.shape == (3, 2, 3)
    assert image.dtype == torch.uint8
    assert image.unique().tolist() == [255]


def test_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (4, 2))
    exif = image.getexif()
    exif[0x0112] = 6  # turn by a quarter
    image.save(tmp_path / "x.jpg", exif=exif)
    assert decode(tmp_path / "x.jpg").shape == (3, 4, 2)


def test_names_what_it_cannot_read(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no image")
    for name in ("cut.jpg", "text.jpg"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as an image"):
            decode(tmp_path / name)


def test_an_animation_gives_its_first_frame(tmp_path):
    first, second = Image.new("RGB", (4, 4), (200, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 200))
    first.save(tmp_path / "x.gif", save_all=True, append_images=[second])
    assert decode(tmp_path / "x.gif")[:, 0, 0].tolist() == [200, 0, 0]


def test_half_transparent_is_half_white(tmp_path):
    Image.new("RGBA", (2, 2), (0, 0, 0, 128)).save(tmp_path / "half.png")
    assert decode(tmp_path / "half.png")[:, 0, 0].tolist() == [127] * 3


def test_orientation_moves_the_right_pixels(tmp_path):
    image = Image.new("L", (4, 2))
    image.putpixel((0, 0), 255)  # top left; turned clockwise it is top right
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.png", exif=exif)
    assert decode(tmp_path / "x.png")[0].nonzero().tolist() == [[0, 1]]


def test_floating_point_pixels_are_refused(tmp_path):
    Image.new("F", (2, 2), 0.5).save(tmp_path / "x.tif")
    with pytest.raises(ValueError, match=r"x\.tif cannot be read as an image: floating-point pixels"):
        decode(tmp_path / "x.tif")


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    for name in ("a.PNG", "deep/b.jpg", ".hidden.png", ".cache/c.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)] == ["a.PNG", "deep/b.jpg"]
