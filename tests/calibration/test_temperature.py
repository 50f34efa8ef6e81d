import pytest
import torch

from lightning_transfer.calibration import fit_temperature, negative_log_likelihood


def split(several, count=400, classes=5):
    """Logits and targets drawn from them: their temperature is 1."""
    logits = 2 * torch.randn(count, classes)
    target = torch.bernoulli(logits.sigmoid()) if several else torch.distributions.Categorical(logits=logits).sample()
    return logits, target


def nll(logits, target):
    return negative_log_likelihood(logits, target).mean().item()


@pytest.mark.parametrize("several", [False, True])
def test_finds_the_minimum_and_never_a_higher_likelihood_cost(several):
    logits, target = split(several)
    logits = 3 * logits
    found = fit_temperature(logits, target)
    assert found == pytest.approx(3, rel=0.15)
    least = nll(logits / found, target)
    assert least <= nll(logits, target)
    for factor in (0.9, 0.999, 1.001, 1.1):
        assert nll(logits / (factor * found), target) >= least
    grid = [t / 100 for t in range(150, 600)]
    assert min(grid, key=lambda t: nll(logits / t, target)) == pytest.approx(found, abs=0.01)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("factor", [1e-3, 0.5, 7.0, 1e4])
def test_grows_with_the_logits(several, factor):
    logits, target = split(several)
    assert fit_temperature(factor * logits.double(), target) == pytest.approx(
        factor * fit_temperature(logits.double(), target), rel=1e-6
    )


def test_of_two_labels_softmax_and_sigmoid_agree():
    logits, target = split(True, classes=1)
    pair = torch.cat([torch.zeros_like(logits), logits], dim=1)
    assert fit_temperature(pair, target.long().squeeze(1)) == pytest.approx(fit_temperature(logits, target), rel=1e-6)


@pytest.mark.parametrize("several", [False, True])
def test_decisions_stay(several):
    logits, target = split(several)
    found = fit_temperature(5 * logits, target)
    if several:
        assert torch.equal(5 * logits / found > 0, logits > 0)
    assert torch.equal((5 * logits / found).argmax(dim=1), logits.argmax(dim=1))


def test_the_cost_is_that_of_torch():
    for several in (False, True):
        logits, target = split(several)
        function = torch.nn.BCEWithLogitsLoss() if several else torch.nn.CrossEntropyLoss()
        assert nll(logits, target) == pytest.approx(function(logits, target).item(), rel=1e-5)


@pytest.mark.parametrize("several", [False, True])
def test_says_when_no_temperature_is_best(several):
    logits, _ = split(several)
    right = (logits > 0).float() if several else logits.argmax(dim=1)
    wrong = (logits < 0).float() if several else logits.argmin(dim=1)
    with pytest.raises(ValueError, match="all 400 validation images are classified rightly"):
        fit_temperature(logits, right)
    with pytest.raises(ValueError, match="no more than chance"):
        fit_temperature(logits, wrong)
    with pytest.raises(ValueError, match="equal or infinite logits"):
        fit_temperature(torch.ones_like(logits), right)
