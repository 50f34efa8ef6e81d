import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from lightning_transfer.metrics import regression_metrics, usual_metrics


@pytest.mark.parametrize("targets", [1, 3])
def test_figures_are_those_of_scikit_learn(targets):
    value, target = torch.randn(30, targets), torch.randn(30, targets)
    metrics = regression_metrics()
    for part in range(3):
        metrics.update(value[part * 10 :][:10], target[part * 10 :][:10])
    found = {name: figure.item() for name, figure in metrics.compute().items()}
    pair = target.numpy(), value.numpy()
    assert found["mae"] == pytest.approx(mean_absolute_error(*pair), rel=1e-5)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(pair[0].ravel(), pair[1].ravel()), rel=1e-5)
    assert found["r2"] == pytest.approx(r2_score(*pair), rel=1e-4)


def test_of_one_image_no_variance_is_explained():
    metrics = regression_metrics()
    metrics.update(torch.zeros(1, 2), torch.ones(1, 2))
    assert metrics.compute()["r2"].isnan()
    assert metrics.compute()["mae"] == 1


@pytest.mark.parametrize(("offset", "scale"), [(0, 1e-3), (1950, 5), (1e4, 1), (0, 1e6)])
def test_what_is_explained_does_not_depend_on_units(offset, scale):
    value, target = torch.randn(300, 2), torch.randn(300, 2)
    value, target = offset + scale * (target + 0.3 * value), offset + scale * target
    metrics = regression_metrics()
    for part in range(3):
        metrics.update(value[100 * part :][:100], target[100 * part :][:100])
    assert metrics.compute()["r2"].item() == pytest.approx(r2_score(target.double(), value.double()), rel=1e-5)


def test_a_target_that_does_not_vary_has_no_say():
    value, target = torch.randn(30, 2), torch.randn(30, 2)
    target[:, 1] = 0.1
    metrics = regression_metrics()
    metrics.update(value, target)
    assert metrics.compute()["r2"].item() == pytest.approx(r2_score(target[:, 0], value[:, 0]), rel=1e-5)
    metrics.reset()
    metrics.update(value[:, 1:], target[:, 1:])
    assert metrics.compute()["r2"].isnan()


def test_each_task_has_its_own():
    assert [set(usual_metrics(3, task)) & {"ece", "map", "r2"} for task in ("classification", "multi_label", "regression")] == [
        {"ece"}, {"map"}, {"r2"},
    ]  # fmt: skip
