"""The nearest mean."""

import math

import torch
from torch import Tensor, nn

from lightning_transfer.fewshot.base import EpisodeRule, check_range
from lightning_transfer.fewshot.distances import Distance, check_distance, prototypes, similarity


class PrototypeRule(EpisodeRule):
    """A way is where the mean of its examples is: logits −scale · |q − c|², or scale · cos(q, c).

    With squared distances this is the linear head of weights 2 scale · c and biases −scale · |c|², up to what all ways have in common.

    Args:
        distance: `squared_euclid` or `cosine`.
        scale: > 0; 1 is common for squared distances, 10 for cosines.
        learn_scale: whether the scale is trained, by its logarithm.

    Raises:
        ValueError: for values out of range.

    Reference:
        Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, equations 1, 2 and 8.
    """

    least_ways = 1

    def __init__(self, distance: Distance = "squared_euclid", scale: float = 1.0, learn_scale: bool = False) -> None:
        super().__init__()
        check_distance(self, distance)
        check_range(self, "scale", scale, 0, hint="1 is common for squared distances, 10 for cosines")
        self.distance = distance
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learn_scale)

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        return self.log_scale.exp() * similarity(query, prototypes(support, labels), self.distance)
