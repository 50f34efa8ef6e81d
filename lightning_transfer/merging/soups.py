"""Soups: the mean of several fine-tuned models, of all or of those that help."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from lightning_transfer.merging.arithmetic import Weights, average


class Trial(NamedTuple):
    """One model's score alone, the score of the soup with it in, and whether it stayed in."""

    name: str
    alone: float
    soup: float
    kept: bool


class Soup(NamedTuple):
    """Merged weights, their score, and what was tried on the way."""

    weights: dict[str, Tensor]
    score: float
    trials: list[Trial]


Finish = Callable[[dict[str, Tensor]], dict[str, Tensor]]  # what merged weights still need: batch-norm statistics
Score = Callable[[Weights], float]  # on validation images; higher is better


def uniform_soup(models: Mapping[str, Weights], score: Score, finish: Finish = dict) -> Soup:
    """Average all models.

    Args:
        models: name and state dict of each, at least one.
        score: measures weights, higher is better.
        finish: completes weights merged of two and more.

    Reference:
        Wortsman et al., "Model soups", ICML 2022, section 2.
    """
    alone = {name: score(weights) for name, weights in models.items()}
    merged = average([*models.values()])
    if len(models) > 1:
        merged = finish(merged)
    reached = score(merged)
    return Soup(merged, reached, [Trial(name, value, reached, True) for name, value in alone.items()])


def greedy_soup(models: Mapping[str, Weights], score: Score, finish: Finish = dict) -> Soup:
    """Begin with the best model and put in the others from best to worst, each only if the soup's score does not drop.

    Args:
        models: name and state dict of each, at least one.
        score: measures weights, higher is better; the soup's is never below the best model's.
        finish: completes weights merged of two and more.

    Reference:
        Wortsman et al., "Model soups", ICML 2022, recipe 1.
    """
    alone = {name: score(weights) for name, weights in models.items()}
    first, *others = sorted(models, key=lambda name: alone[name], reverse=True)
    kept = [first]
    merged, reached = average([models[first]]), alone[first]
    trials = [Trial(first, reached, reached, True)]
    for name in others:
        candidate = finish(average([models[each] for each in (*kept, name)]))
        value = score(candidate)
        if value >= reached:
            kept.append(name)
            merged, reached = candidate, value
        trials.append(Trial(name, alone[name], value, name in kept))
    return Soup(merged, reached, trials)
