import pytest
import torch

from lightning_transfer.metrics import regression_metrics
from lightning_transfer.metrics.weighted_errors import weighted_errors


@pytest.mark.parametrize("targets", [1, 3])
def test_counts_give_what_torchmetrics_gives_for_repeated_images(targets):
    value, target = torch.randn(40, targets), 1900 + 5 * torch.randn(40, targets)
    value = target + value
    counts = torch.stack([torch.ones(40, dtype=torch.long), *torch.randint(3, (4, 40))])
    names = ["x", "y", "z"][:targets]
    found = weighted_errors(value, target, names)(counts.double())
    for i, count in enumerate(counts):
        pair = [tensor.double().repeat_interleave(count, dim=0) for tensor in (value, target)]
        expected = {name: figure.item() for name, figure in regression_metrics()(*pair).items()}
        assert {name: found[name][i].item() for name in expected} == pytest.approx(expected, rel=1e-4)
        for k, name in enumerate(names if targets > 1 else []):
            alone = regression_metrics()(pair[0][:, k], pair[1][:, k])
            assert {metric: found[f"{name}/{metric}"][i].item() for metric in alone} == pytest.approx(
                {metric: figure.item() for metric, figure in alone.items()}, rel=1e-4
            )


def test_figures_by_hand():
    value, target = torch.tensor([[1.0], [2.0], [5.0]]), torch.tensor([[1.0], [3.0], [5.0]])
    found = weighted_errors(value, target, ["x"])(torch.tensor([[1.0, 1, 1], [0, 4, 0], [2, 2, 0]]).double())
    assert found.keys() == {"mae", "rmse", "r2"}
    assert found["mae"].tolist() == pytest.approx([1 / 3, 1, 0.5])
    assert found["rmse"].tolist() == pytest.approx([(1 / 3) ** 0.5, 1, 0.5**0.5])
    assert found["r2"].tolist() == pytest.approx([1 - 1 / 8, float("nan"), 1 - 2 / 4], nan_ok=True)


def test_variance_is_not_made_of_rounding():
    target = torch.full((50, 1), 0.1)
    found = weighted_errors(target + torch.rand(50, 1), target, ["x"])(torch.randint(4, (20, 50)).double())
    assert found["r2"].isnan().all()
