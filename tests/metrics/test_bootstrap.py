from statistics import NormalDist

import pytest
import torch

from lightning_transfer.metrics.bootstrap import bootstrap
from lightning_transfer.metrics.weighted import weighted_metrics


def mean_of(values):
    values = torch.as_tensor(values).double()
    return lambda counts: {"mean": counts @ values / counts.sum(dim=1)}


def test_equals_scipy_up_to_its_draws():
    stats = pytest.importorskip("scipy.stats")
    values = torch.rand(80, dtype=torch.float64) ** 3
    found = bootstrap(mean_of(values), 80, resamples=20000, level=0.9)["mean"]
    limits = stats.bootstrap(
        (values.numpy(),), lambda x, axis: x.mean(axis=axis), n_resamples=20000, confidence_level=0.9, method="percentile", rng=0
    ).confidence_interval  # fmt: skip
    assert found.value == pytest.approx(values.mean().item())
    assert (found.low, found.high) == pytest.approx((limits.low, limits.high), rel=0.01)


def test_equals_a_slow_loop_over_drawn_images():
    logits, target = torch.randn(40, 4), torch.randint(4, (40,))
    found = bootstrap(weighted_metrics(logits, target), 40, resamples=3000)
    single = torch.ones(1, 40, dtype=torch.float64)
    slow = []
    for _ in range(3000):
        drawn = torch.randint(40, (40,))
        slow.append({name: v.item() for name, v in weighted_metrics(logits[drawn], target[drawn])(single).items()})
    for name in ("accuracy", "accuracy_macro", "f1", "nll"):
        low, high = torch.tensor([row[name] for row in slow]).quantile(torch.tensor([0.025, 0.975])).tolist()
        assert found[name].low == pytest.approx(low, abs=0.03)
        assert found[name].high == pytest.approx(high, abs=0.03)


def test_covers_a_proportion_as_the_normal_approximation_does():
    truth, count, trials = 0.7, 200, 400
    covered = widths = 0
    for trial in range(trials):
        right = torch.rand(count) < truth
        found = bootstrap(mean_of(right.double()), count, resamples=400, seed=trial)["mean"]
        covered += found.low <= truth <= found.high
        widths += found.high - found.low
    normal = 2 * NormalDist().inv_cdf(0.975) * (truth * (1 - truth) / count) ** 0.5
    assert widths / trials == pytest.approx(normal, rel=0.05)
    assert 0.91 <= covered / trials <= 0.98  # four standard deviations about 0.95


def test_copies_in_groups_are_no_further_evidence():
    values = torch.rand(50)
    alone = bootstrap(mean_of(values), 50, resamples=2000)["mean"]
    groups = [str(i) for i in range(50) for _ in range(9)]
    copied = values.repeat_interleave(9)
    together = bootstrap(mean_of(copied), 450, groups, resamples=2000)["mean"]
    assert together == pytest.approx(alone)
    apart = bootstrap(mean_of(copied), 450, resamples=2000)["mean"]
    assert (alone.high - alone.low) / (apart.high - apart.low) == pytest.approx(3, rel=0.1)


def test_depends_on_its_seed_alone_and_on_no_part():
    values = torch.rand(30)
    torch.manual_seed(1)
    first = bootstrap(mean_of(values), 30, resamples=500)
    torch.manual_seed(2)
    assert bootstrap(mean_of(values), 30, resamples=500) == first
    assert bootstrap(mean_of(values), 30, resamples=500, seed=1) != first


def test_limits_of_the_calibration_error_are_about_its_value():
    logits = 2 * torch.randn(300, 5)

    def drawn(size):  # calibrated: the error is nothing but chance
        rows = torch.randint(300, (size,))
        return logits[rows], torch.distributions.Categorical(logits=logits[rows]).sample()

    single = torch.ones(1, 150, dtype=torch.float64)
    chance = torch.stack([weighted_metrics(*drawn(150))(single)["ece"] for _ in range(300)])
    inside = raw_inside = 0
    for seed in range(20):
        measure = weighted_metrics(*drawn(150))
        shifted = bootstrap(measure, 150, resamples=300, seed=seed, biased=["ece"])["ece"]
        raw = bootstrap(measure, 150, resamples=300, seed=seed)["ece"]
        inside += shifted.low <= shifted.value <= shifted.high
        raw_inside += raw.low <= raw.value <= raw.high
    assert inside == 20
    assert raw_inside < 20
    assert shifted.high - shifted.low == pytest.approx(4 * chance.std().item(), rel=0.4)


def test_leaves_out_resamples_that_cannot_tell():
    values = torch.tensor([1.0, 2, 3])

    def measure(counts):
        mean = counts @ values.double() / counts.sum(dim=1)
        return {"mean": torch.where(mean > 2.5, torch.nan, mean)}

    found = bootstrap(measure, 3)["mean"]
    assert 1 <= found.low <= found.high <= 2.5


def test_refuses_values_out_of_range():
    with pytest.raises(ValueError, match="resamples=0 must be at least 1"):
        bootstrap(mean_of([1.0]), 1, resamples=0)
    with pytest.raises(ValueError, match=r"level=95 must lie in \(0, 1\)"):
        bootstrap(mean_of([1.0]), 1, level=95)
