from types import SimpleNamespace

import pytest
import torch

from lightning_transfer.compression.timing import Timing
from lightning_transfer.reports.deployment import measured, show, size_of


class Fast:
    """Answers right where the model is wrong, and takes a tenth of its time."""

    runtime, dynamic_batch, twin = "runtime", True, None

    def __init__(self, answers, twin):
        self.answers, self.twin = answers, twin

    def load(self, path):
        return lambda image: self.answers[int(image[0, 0, 0, 0])][None]

    def speed(self, model, path, image, rounds):
        seconds = {"torch float32": (0.01, 0.03), "runtime float32": (0.002, 0.003), "runtime int8": (0.001, 0.002)}
        return {
            way: Timing(1e3 * sum(s) / 2 * len(image), (1, 1, 1), tuple(len(image) * t for t in s))
            for way, s in seconds.items()
        }


class Source:
    targets, names, groups = torch.tensor([0, 1, 1, 0]), list("abcd"), None

    def __len__(self):
        return 4

    def image(self, index):
        return torch.full((3, 2, 2), index, dtype=torch.uint8)


@pytest.fixture
def figures(tmp_path):
    (tmp_path / "twin").write_bytes(b"x" * 4000)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/a").write_bytes(b"x" * 1000)
    right = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])
    model = SimpleNamespace(
        model=torch.nn.Linear(10, 10), reference=lambda image: right[int(image[0, 0, 0])].flip(0) if image[0, 0, 0] > 1
        else right[int(image[0, 0, 0])], task="classification", class_names=["x", "y"],
    )  # fmt: skip
    return measured(Fast(right, tmp_path / "twin"), model, tmp_path / "own", Source().image(0), Source(), rounds=2)


def test_bytes_both_ratios_and_metrics(figures, capsys):
    assert figures["bytes"] == {"torch float32": 440, "runtime float32": 4000, "runtime int8": 1000}
    assert figures["metrics"]["dense"]["accuracy"].value == 0.5
    assert figures["metrics"]["compressed"]["accuracy"].value == 1
    assert figures["metrics"]["change"]["accuracy"].value == 0.5
    show(figures, "title")
    text = capsys.readouterr().out
    assert (
        "one image: runtime int8 is 12.50 times as fast as torch float32, 1.75 times as fast as runtime float32" in text
    )
    assert "metrics on 4 test images" in text


def test_size_of_files_and_folders(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").write_bytes(b"12345")
    (tmp_path / "c").write_bytes(b"123")
    assert (size_of(tmp_path / "c"), size_of(tmp_path)) == (3, 8)
