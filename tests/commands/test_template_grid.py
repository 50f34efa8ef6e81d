import csv
from pathlib import Path

import pytest
import torch

from lightning_transfer.commands.template_grid import Shown, accuracy, forward_selection, template_grid
from lightning_transfer.data import FakeData
from lightning_transfer.models import as_image_text

TEMPLATES = ["a photo of a {}.", "the {}", "{} in a drawing"]
SYNONYMS = {"class 1": ["bee", "wasp"]}


def data(**options):
    return FakeData(image_size=32, num_workers=0, val_fraction=0.3, **options)


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_every_cell_is_the_accuracy_of_a_slow_loop(pairs):
    folder = template_grid(pairs, data(), TEMPLATES, SYNONYMS, out="grid")
    assert {path.name for path in folder.iterdir()} == {"template_grid.csv", "grid.png", "chosen.csv"}
    found = rows(folder / "template_grid.csv")
    assert len(found) == (3 + 1) * 3
    known, images = as_image_text(pairs), data()
    batches = list(images.ordered_dataloader(images.splits()["val"]))
    for row in found:
        names = ["class 0", row["words"].partition(": ")[2] or "class 1", "class 2", "class 3"]
        used = TEMPLATES if row["template"] == "all templates" else [row["template"]]
        vectors = torch.stack([known.encode_text([t.replace("{}", name) for t in used]).mean(0) for name in names])
        vectors = vectors / vectors.norm(dim=1, keepdim=True)
        right = [(known.encode_image(b.image) @ vectors.T).argmax(1) == b.target for b in batches]
        assert float(row["val/accuracy"]) == pytest.approx(torch.cat(right).double().mean().item())
    chosen = {row["way"]: row for row in rows(folder / "chosen.csv")}
    best = chosen["chosen templates"]
    assert float(best["val/accuracy"]) >= max(float(r["val/accuracy"]) for r in found[:3])
    assert float(chosen["chosen templates and words"]["val/accuracy"]) >= float(best["val/accuracy"])
    assert set(best["templates"].split("|")) <= set(TEMPLATES)
    assert "test/accuracy" in best


def test_templates_are_chosen_one_after_the_other_as_long_as_one_helps():
    # images along two axes; template 0 mixes the classes up, 1 knows them, 2 knows them too
    right = torch.eye(2)
    vectors = torch.stack([right.flip(0), right, right], dim=1)
    shown = Shown(torch.eye(2).repeat(3, 1), torch.tensor([0, 1] * 3))
    assert forward_selection(vectors, shown) == [1]
    assert accuracy(vectors[:, [0]], shown) == 0
    unknown = Shown(shown.embedding, torch.tensor([0, 1, -1, -1, -1, -1]))
    assert accuracy(vectors[:, [1]], unknown) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"synonyms": {"cat": ["kitten"]}}, r"synonyms names \['cat'\], but the classes are \['class 0'"),
        ({"synonyms": {"class 1": ["class 2"]}}, "words: 'class 2' names two classes"),
        ({"templates": ["a photo"]}, "'a photo' must hold {} once"),
        ({"data": FakeData(image_size=32, val_fraction=0.0)}, "no validation images to choose by"),
        ({"image_text": torch.nn.Identity()}, "image_text=Identity is no image-text model"),
    ],
)
def test_refuses(image_text, options, message):
    with pytest.raises(ValueError, match=message):
        template_grid(**{"image_text": image_text(), "data": data(), "out": "grid"} | options)
    assert not Path("grid").exists()
