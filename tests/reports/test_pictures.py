import pytest
import torch
from PIL import Image

from lightning_transfer.reports.pictures import (
    Wrong,
    draw_confusion,
    draw_reliability,
    draw_scatter,
    draw_worst,
    shortened,
)


def size(path):
    with Image.open(path) as image:
        return image.size


@pytest.mark.parametrize("classes", [2, 16, 100, 300])
def test_confusions_of_few_and_many_classes(classes, tmp_path):
    counts = torch.randint(5, (classes, classes))
    counts[0] = 0  # a class without images
    names = [f"a rather long name of class {k}" for k in range(classes)]
    draw_confusion(counts, names, tmp_path / "c.png")
    width, height = size(tmp_path / "c.png")
    assert 400 < height <= 2400
    assert width > height
    assert [path.name for path in tmp_path.iterdir()] == ["c.png"]


def test_reliability_of_one_or_two_columns_and_of_a_single_bin(tmp_path):
    sure = ("all are sure", torch.ones(5), torch.ones(5))
    draw_reliability([sure], tmp_path / "one.png")
    draw_reliability([sure, ("any", torch.rand(99), (torch.rand(99) < 0.5).float())], tmp_path / "two.png")
    assert size(tmp_path / "two.png")[0] > size(tmp_path / "one.png")[0]


@pytest.mark.parametrize("count", [1, 7])
def test_sheets_of_any_number_and_shape_of_images(count, tmp_path):
    rows = [Wrong(str(i), "a very long name of a class indeed", "b 0.50") for i in range(count)]

    def image(name):
        return torch.full((3, 8 + 300 * int(name), 40), 99, dtype=torch.uint8)

    draw_worst(rows, ("blue: true;", "red: said"), image, tmp_path / "w.png")
    assert size(tmp_path / "w.png")[1] == (375 if count == 1 else 750)


@pytest.mark.parametrize(("targets", "expected"), [(1, (630, 630)), (5, (2520, 1260))])
def test_a_panel_for_each_target_even_a_constant_one(targets, expected, tmp_path):
    panels = [(f"target {k}", torch.full((30,), k / 2), k / 2 + k * torch.randn(30)) for k in range(targets)]
    draw_scatter(panels, tmp_path / "s.png")
    assert size(tmp_path / "s.png") == expected


def test_names_are_shortened_in_the_middle():
    assert shortened("short", 5) == "short"
    for length in (6, 7):
        assert len(shortened("abcdefghijkl", length)) == length
    assert shortened("abcdefghijkl", 6) == "abc…kl"
