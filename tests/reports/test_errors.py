import pytest
import torch

from lightning_transfer.contracts import Scored
from lightning_transfer.metrics.bootstrap import bootstrap
from lightning_transfer.metrics.weighted_errors import weighted_errors
from lightning_transfer.reports.errors import per_target, worst_errors

NAMES = ["year", "share"]
SPLIT = Scored(
    torch.tensor([[1900.0, 0.5], [1910, 0.2], [1960, 0.9]]),
    torch.tensor([[1900.0, 0.1], [1920, 0.2], [1950, 0.8]]),
    ["a", "b", "c"],
)


def test_errors_of_several_targets_are_compared_in_their_deviations():
    rows = worst_errors(SPLIT, NAMES, torch.tensor([100.0, 0.1]))
    assert [(row["image"], row["target"]) for row in rows[:2]] == [("a", "share"), ("c", "share")]
    assert rows[0] == {"image": "a", "target": "share", "true": 0.1, "predicted": 0.5, "error": pytest.approx(0.4),
                       "standardised": pytest.approx(4)}  # fmt: skip
    assert len(rows) == 6
    by_year = worst_errors(SPLIT, NAMES, torch.tensor([1.0, 100.0]))
    assert [(row["image"], row["error"]) for row in by_year if row["target"] == "year"] == [
        ("b", -10),
        ("c", 10),
        ("a", 0),
    ]


def test_each_target_has_its_figures_and_its_bias():
    headline = bootstrap(weighted_errors(SPLIT.logits, SPLIT.target, NAMES), 3, resamples=5)
    year, share = per_target(SPLIT, NAMES, headline)
    assert year == {"target": "year", "n": 3, "mae": pytest.approx(20 / 3), "rmse": pytest.approx((200 / 3) ** 0.5),
                    "r2": pytest.approx(1 - 200 / 1266.6667), "bias": 0}  # fmt: skip
    assert share["bias"] == pytest.approx(0.5 / 3)
    alone = Scored(SPLIT.logits[:, :1], torch.full((3, 1), 1900.0), SPLIT.name)
    (row,) = per_target(
        alone, ["year"], bootstrap(weighted_errors(alone.logits, alone.target, ["year"]), 3, resamples=5)
    )
    assert row["r2"] is None
    assert row["bias"] == pytest.approx(70 / 3)
