import csv
from pathlib import Path

import pytest
import torch
from tiny import llama

from lightning_transfer.asking import Choosing
from lightning_transfer.commands.prompt_grid import prompt_grid
from lightning_transfer.contracts import TextBatch
from lightning_transfer.data import CsvTextData
from lightning_transfer.demonstrations import FixedDemonstrations, RandomDemonstrations

CLASSES = ["negative", "positive"]
TEMPLATES = ["{text} It was {label}.", "Review: {text}\nSentiment: {label}"]
WORDS = [["bad", "great"], ["great", "bad"]]


@pytest.fixture
def data():
    lines = ["text,label"] + [f"{'great' if i % 2 else 'dull'} film {i},{i % 2}" for i in range(30)]
    Path("reviews.csv").write_text("\n".join(lines))
    return CsvTextData("reviews.csv", class_names=CLASSES, batch_size=4, val_fraction=0.4, test_fraction=0.2)


def _rows(folder):
    return list(csv.DictReader((folder / "prompt_grid.csv").read_text().splitlines()))


def test_a_grid_holds_what_each_prompt_alone_says(data):
    model = llama()
    folder = prompt_grid(model, data, TEMPLATES, WORDS, out="grid")
    rows = _rows(folder)
    assert [(row["template"], row["words"]) for row in rows] == [
        (template.replace("\n", "\\n"), "/".join(words)) for template in TEMPLATES for words in WORDS
    ]
    val = data.splits()["val"]
    for row, template in zip(rows[::2], TEMPLATES, strict=True):
        asking = Choosing(template, WORDS[0])
        asking.build(model, CLASSES)
        asking.prepare(None, CLASSES, ["text"])
        with torch.no_grad():
            _, compared = asking.measured(model, TextBatch(val.fields, val.target))
        for name, scores in (("accuracy", compared["preds"]), ("accuracy_calibrated", compared["calibrated"])):
            assert float(row[name]) == pytest.approx((scores.argmax(1) == val.target).double().mean().item())
    for one, swapped in zip(rows[::2], rows[1::2], strict=True):
        assert float(one["accuracy"]) + float(swapped["accuracy"]) == pytest.approx(1)
        assert float(one["auroc"]) + float(swapped["auroc"]) == pytest.approx(1)
    assert (folder / "grid.png").stat().st_size > 5000
    assert (folder / "grid_calibrated.png").is_file()


def test_seeds_draw_demonstrations(data):
    rows = _rows(
        prompt_grid(llama(), data, TEMPLATES[0], WORDS[:1], RandomDemonstrations(2), seeds=[0, 1, 2], out="grid")
    )
    assert float(rows[0]["accuracy_deviation"]) >= 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"templates": "{title} {label}"}, r"a place for \{title\}"),
        ({"words": [["bad", "bad"]]}, "stands for two classes"),
        ({"seeds": [0]}, "demonstrations=null draws none"),
        ({"seeds": [0], "demonstrations": FixedDemonstrations([0])}, "demonstrations=FixedDemonstrations draws none"),
    ],
)
def test_refuses(data, options, message):
    with pytest.raises(ValueError, match=message):
        prompt_grid(llama(), data, **{"templates": TEMPLATES, "words": WORDS} | options)
    assert not Path("runs").exists()
