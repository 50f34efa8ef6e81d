import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image

from lightning_transfer.reports.differences import draw_differences


def drawn(matrices, path, monkeypatch, names="abc"):
    """The arguments of all calls of imshow, and the texts below the panels."""
    scales, texts = [], []
    imshow, set_xlabel = Axes.imshow, Axes.set_xlabel
    monkeypatch.setattr(Axes, "imshow", lambda self, x, **k: scales.append(k) or imshow(self, x, **k))
    monkeypatch.setattr(Axes, "set_xlabel", lambda self, x, **k: texts.append(x) or set_xlabel(self, x, **k))
    draw_differences(matrices, [f"student {i}" for i in range(len(matrices))], names, "difference", path)
    return scales, [text for text in texts if "Frobenius" in text]


def test_all_panels_have_one_scale_and_their_own_numbers(tmp_path, monkeypatch):
    matrices = [torch.eye(3).double(), -3 * torch.eye(3).double(), torch.zeros(3, 3).double()]
    scales, texts = drawn(matrices, tmp_path / "d.png", monkeypatch)
    assert scales == [{"cmap": "PuOr", "vmin": -3, "vmax": 3}] * 3
    assert texts[1] == "mean |·| 1.000   max |·| 3.000\nFrobenius 5.196"
    assert [path.name for path in tmp_path.iterdir()] == ["d.png"]


def test_what_is_never_negative_begins_at_zero(tmp_path, monkeypatch):
    scales, _ = drawn([torch.eye(3), 2 * torch.eye(3)], tmp_path / "d.png", monkeypatch)
    assert scales == [{"cmap": "Purples", "vmin": 0, "vmax": 2}] * 2
    assert drawn([torch.zeros(3, 3)], tmp_path / "d.png", monkeypatch)[0][0]["vmax"] == 1


@pytest.mark.parametrize(("count", "classes"), [(1, 2), (4, 100), (5, 10), (9, 26)])
def test_any_number_of_students_and_classes(count, classes, tmp_path):
    names = [f"a rather long name of class {k}" for k in range(classes)]
    draw_differences([torch.randn(classes, classes)] * count, ["runs/hinton/3"] * count, names, "x", tmp_path / "d.png")
    with Image.open(tmp_path / "d.png") as image:
        assert image.height == 90 + 555 * -(-count // 4)
        assert image.width == 135 + 480 * min(4, count)
