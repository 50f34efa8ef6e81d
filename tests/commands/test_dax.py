from pathlib import Path

import pytest
import torch
from PIL import Image

from lightning_transfer.backbones import Conv4, ModuleBackbone
from lightning_transfer.commands.dax import Asked, best_threshold, dax
from lightning_transfer.contracts import Episode, ImageBatch
from lightning_transfer.data import EpisodeData, FakeData


def data(**options):
    inner = FakeData(image_size=32, num_workers=0, num_classes=20, images_per_class=4)
    usual = {"ways": 4, "queries": 3, "episodes": 6, "val_classes": 0.3, "novel_classes": 0.3}
    return EpisodeData(inner, **usual | options)


class MeanColour(torch.nn.Module):
    """Tells the colours of FakeData's classes."""

    num_features = 3

    def forward(self, image):
        return image.mean(dim=(2, 3)) - 0.5


def asked(score, target):
    nothing = Episode(*[ImageBatch(torch.empty(0), torch.empty(0))] * 2, torch.empty(0))
    return Asked(nothing, torch.tensor(score), torch.tensor(target))


def test_the_threshold_is_that_of_the_best_f1():
    scores, targets = [[[0.1, 0.4, 0.6], [0.7, 0.8, 0.3]]], [[[0, 1, 0], [1, 1, 0]]]
    # yes from 0.4 on: 3 right of 4, F1 6/7; from 0.7 on: 2 of 2, but one is missed, F1 4/5
    assert best_threshold([asked(scores, targets)]) == pytest.approx((0.3 + 0.4) / 2)
    assert best_threshold([asked([[[0.2, 0.9]]], [[[1, 1]]])]) < 0.2


def test_measures_and_draws():
    figures = dax(data(), ModuleBackbone(MeanColour()), out="found", rows=3)
    again = dax(data(), ModuleBackbone(MeanColour()), out="again", rows=3)
    assert figures == again
    assert -1 <= figures["threshold"] <= 1
    assert figures["average_precision"] > 0.5  # chance is 0.25
    for name in ("precision", "recall", "f1", "average_precision"):
        assert 0 <= figures[name] <= 1
        assert figures[f"{name}_ci95"] >= 0
    assert Path("found/dax.csv").read_text().splitlines()[0].startswith("threshold,precision,precision_ci95")
    with Image.open("found/dax.png") as picture:
        assert min(picture.size) > 300


def test_episodes_of_several_shapes():
    figures = dax(data(ways=(2, 4), shots=(1, 2), queries=2, batch_size=1), Conv4(), out="found")
    assert 0 <= figures["recall"] <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "dax needs either a backbone"),
        ({"backbone": Conv4(), "ckpt_path": "x.ckpt"}, "dax needs either a backbone"),
        ({"backbone": Conv4(), "rows": 0}, "rows=0 of the picture"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        dax(data(), **arguments)


def test_refuses_data_without_validation_classes():
    with pytest.raises(ValueError, match="no validation classes"):
        dax(data(val_classes=0.0), Conv4())
