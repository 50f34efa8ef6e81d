import pytest
import torch

from lightning_transfer.metrics.asked import PredictedShare, choosing_metrics
from lightning_transfer.metrics.text import same, saying_metrics


@pytest.mark.parametrize(
    ("said", "answer", "right"),
    [("11", "11.0", True), ("Cats", " cats", True), (None, "", False), ("1 1", "11", False), ("nan", "NaN", True)],
)
def test_same(said, answer, right):
    assert same(said, answer) == right


def test_answers_are_counted():
    metrics = saying_metrics(several=True)
    metrics.update(said=["3", None], samples=[["3", "3", "4"], [None, None, None]], answer=["3", "5"])
    found = metrics.compute()
    assert found["exact_match"] == 0.5
    assert found["unparsed"] == 0.5
    assert found["exact_match_alone"] == pytest.approx(2 / 6)
    assert "exact_match_alone" not in saying_metrics(several=False)


def test_raw_and_calibrated_answers_are_measured_side_by_side():
    metrics = choosing_metrics(["negative", "positive"], calibrated=True)
    raw = torch.tensor([[0.0, 1.0], [0.0, 4.0], [0.0, 2.0], [0.0, 30.0]])
    target = torch.tensor([0, 1, 0, 1])
    metrics.update(preds=raw, calibrated=raw - torch.tensor([0.0, 3.0]), target=target)
    found = metrics.compute()
    assert found["accuracy"] == 0.5
    assert found["accuracy_calibrated"] == 1
    assert found["auroc"] == 1
    assert found["share/positive"] == 1
    assert found["share/negative"] == 0


def test_auroc_is_that_of_pairs_and_knows_no_preference():
    generator = torch.Generator().manual_seed(0)
    raw, target = torch.randn(40, 2, generator=generator) * 40, torch.arange(40) % 2
    odds = raw[:, 1] - raw[:, 0]
    pairs = (odds[target == 1][:, None] > odds[target == 0][None]).double().mean()
    for shift in (0.0, 100.0):
        metric = choosing_metrics(["a", "b"], calibrated=False)["auroc"]
        metric.update(raw + torch.tensor([0.0, shift]), target)
        assert metric.compute() == pytest.approx(pairs.item(), abs=1e-6)


def test_shares_add_up():
    raw = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    shares = [PredictedShare(k) for k in range(3)]
    for metric in shares:
        metric.update(raw)
    assert sum(metric.compute() for metric in shares) == pytest.approx(1)
