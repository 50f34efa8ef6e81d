import pytest
import torch

from lightning_transfer.merging import Trial, greedy_soup, uniform_soup


def models(**values):
    return {name: {"w": torch.tensor(value)} for name, value in values.items()}


def near(goal):
    return lambda weights: -abs(weights["w"].item() - goal)


def test_uniform_is_the_mean():
    soup = uniform_soup(models(a=1.0, b=3.0, c=5.0), near(3.5))
    assert soup.weights == {"w": torch.tensor(3.0)}
    assert soup.score == -0.5
    assert soup.trials[0] == Trial("a", -2.5, -0.5, True)


def test_greedy_adds_from_best_to_worst_while_the_score_does_not_drop():
    # best first: a (0.5 off), b (1), c (2), d (3); a+b is 0.25 off and stays, c would make it 0.5, d 1.17
    soup = greedy_soup(models(d=7.0, b=5.0, c=2.0, a=3.5), near(4.0))
    assert [trial.name for trial in soup.trials] == ["a", "b", "c", "d"]
    assert [trial.kept for trial in soup.trials] == [True, True, False, False]
    assert soup.weights == {"w": torch.tensor(4.25)}
    assert soup.score == -0.25


def test_equal_scores_are_no_drop():
    soup = greedy_soup(models(a=1.0, b=3.0), lambda weights: 0.0)
    assert soup.weights == {"w": torch.tensor(2.0)}


@pytest.mark.parametrize("seed", range(20))
def test_greedy_is_never_below_the_best_model(seed):
    torch.manual_seed(seed)
    goal = torch.randn(5)
    given = {str(i): {"w": goal + torch.randn(5)} for i in range(6)}

    def score(weights):
        return -(weights["w"] - goal).norm().item()

    soup = greedy_soup(given, score)
    assert soup.score >= max(map(score, given.values()))
    assert soup.score == score(soup.weights)
    kept = [given[trial.name]["w"] for trial in soup.trials if trial.kept]
    torch.testing.assert_close(soup.weights["w"], torch.stack(kept).mean(0))


@pytest.mark.parametrize("recipe", [uniform_soup, greedy_soup])
def test_a_soup_of_one_is_that_model_as_it_is(recipe):
    soup = recipe(models(a=0.1), near(0), finish=lambda weights: pytest.fail("changed it"))
    assert soup.weights == {"w": torch.tensor(0.1)}


@pytest.mark.parametrize("recipe", [uniform_soup, greedy_soup])
def test_every_mean_is_finished_before_it_is_scored(recipe):
    soup = recipe(models(a=1.0, b=3.0), near(12), finish=lambda weights: {"w": weights["w"] + 10})
    assert soup.weights == {"w": torch.tensor(12.0)}
    assert soup.score == 0
