import pytest
import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_f1_score, multilabel_f1_score

from lightning_transfer.contracts import Scored
from lightning_transfer.reports.tables import confusion, headline, mean_nll, per_class, reliability, worst

NAMES = ["ant", "bee", "cow", "dog"]


def scored(target, predicted, sureness=None):
    logits = torch.zeros(len(target), 4)
    logits[range(len(target)), predicted] = torch.tensor(sureness or [2.0] * len(target))
    return Scored(logits, torch.tensor(target), [f"{i}.png" for i in range(len(target))])


def test_a_class_without_images_or_predictions_has_empty_cells():
    rows = {row["class"]: row for row in per_class(scored([0, 0, 0, 1, 1], [0, 1, 1, 1, 2]), NAMES)}
    assert rows["ant"] == {"class": "ant", "n": 3, "predicted": 1, "precision": 1, "recall": 1 / 3, "f1": 0.5,
                           "most_confused_with": "bee", "times": 2}  # fmt: skip
    assert (rows["cow"]["n"], rows["cow"]["recall"], rows["cow"]["precision"], rows["cow"]["f1"]) == (0, None, 0, 0)
    assert [rows["dog"][key] for key in ("precision", "recall", "f1", "most_confused_with")] == [None, None, None, ""]


def test_classes_are_those_of_torchmetrics():
    target, logits = torch.randint(4, (100,)), torch.randn(100, 4)
    split = Scored(logits, target, [""] * 100)
    assert torch.equal(confusion(split), multiclass_confusion_matrix(logits, target, 4))
    expected = multiclass_f1_score(logits, target, 4, average="none").tolist()
    assert [row["f1"] for row in per_class(split, NAMES)] == pytest.approx(expected)
    several = Scored(logits, (torch.rand(100, 4) < 0.4).float(), [""] * 100)
    expected = multilabel_f1_score(logits.sigmoid(), several.target.long(), 4, average="none").tolist()
    rows = per_class(several, NAMES)
    assert [row["f1"] for row in rows] == pytest.approx(expected)
    assert "times" not in rows[0]


def test_the_surest_errors_come_first():
    rows = worst(scored([0, 0, 1, 2], [0, 1, 3, 0], [9.0, 1, 3, 2]), NAMES)
    assert [(row["image"], row["true"], row["predicted"]) for row in rows] == [
        ("2.png", "bee", "dog"), ("3.png", "cow", "ant"), ("1.png", "ant", "bee"),
    ]  # fmt: skip
    sure = torch.tensor(3.0).exp() / (torch.tensor(3.0).exp() + 3)
    assert rows[0]["probability"] == pytest.approx(sure.item())
    assert rows[0]["probability_of_true"] == pytest.approx((1 - sure.item()) / 3)
    assert worst(scored([0, 1], [0, 1]), NAMES) == []


def test_several_labels_err_one_by_one():
    logits = torch.tensor([[3.0, -1, -9, -9], [-2, 9, -9, -9]])
    split = Scored(logits, torch.tensor([[0.0, 1, 0, 0], [1, 1, 0, 0]]), ["a", "b"])
    rows = worst(split, NAMES)
    assert [(row["image"], row["true"], row["predicted"]) for row in rows] == [
        ("a", "not ant", "ant"), ("b", "ant", "not ant"), ("a", "bee", "not bee"),
    ]  # fmt: skip
    assert [row["probability"] for row in rows] == pytest.approx(torch.tensor([3.0, 2, 1]).sigmoid().tolist())
    probability, right = reliability(split)
    assert probability.shape == right.shape == (8,)


def test_a_temperature_changes_probabilities_alone():
    split = Scored(torch.randn(50, 4), torch.randint(4, (50,)), [""] * 50)
    plain, scaled = (headline(split, temperature, 50, 0.9, 0) for temperature in (None, 3.0))
    assert scaled.keys() - plain.keys() == {"nll_scaled", "ece_scaled"}
    assert all(scaled[name] == interval for name, interval in plain.items())
    assert scaled["nll_scaled"].value == pytest.approx(mean_nll(split, 3.0))
    before, after = reliability(split), reliability(split, 3.0)
    assert torch.equal(before[1], after[1])
    assert (after[0] < before[0]).all()
