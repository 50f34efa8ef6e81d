"""Merging: the weights of several models of one architecture to the weights of one; nothing is trained."""

from lightning_transfer.merging.arithmetic import average, interpolate, require_alike
from lightning_transfer.merging.batch_norm import recompute_batch_norm
from lightning_transfer.merging.evaluator import Evaluator, read_models
from lightning_transfer.merging.soups import Soup, Trial, greedy_soup, uniform_soup

__all__ = [
    "Evaluator",
    "Soup",
    "Trial",
    "average",
    "greedy_soup",
    "interpolate",
    "read_models",
    "recompute_batch_norm",
    "require_alike",
    "uniform_soup",
]
