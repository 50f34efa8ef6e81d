"""Ways that the queries themselves tell apart most clearly."""

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.optim import Adam

from lightning_transfer.fewshot.base import check_range
from lightning_transfer.fewshot.descend import descend
from lightning_transfer.fewshot.distances import Distance, check_distance, prototypes, relative, similarity
from lightning_transfer.fewshot.transform import Transform, TransformedRule


class TIM(TransformedRule):
    """Prototypes are moved until support and queries agree with them: sure of each query, and all ways asked for alike.

    Minimises support_weight · CE(support) − H(mean answer) + conditional_weight · mean H(answer) by Adam (TIM-GD). H(mean answer) is
    greatest when all ways are asked for equally often.

    Args:
        support_weight: of the support's cross-entropy, ≥ 0.
        conditional_weight: of the entropy of each query's answer, ≥ 0.
        steps: of Adam, ≥ 1.
        lr: of Adam, > 0.
        scale: of the similarities, > 0; 7.5 is the paper's temperature of 15 for half squared distances.
        distance: `squared_euclid` or `cosine`.
        transform: UN, L2N or CL2N, as for `SimpleShot`.

    Raises:
        ValueError: for values out of range.

    Reference:
        Boudiaf, Ziko, Rony, Dolz, Piantanida, Ben Ayed, "Transductive Information Maximization For Few-Shot Learning", NeurIPS 2020,
        section 2 (TIM-GD).
    """

    transductive = True
    assumes_balance = True

    def __init__(
        self,
        support_weight: float = 0.1,
        conditional_weight: float = 0.1,
        steps: int = 1000,
        lr: float = 1e-4,
        scale: float = 7.5,
        distance: Distance = "squared_euclid",
        transform: Transform = "L2N",
    ) -> None:
        super().__init__(transform)
        check_range(self, "support_weight", support_weight, 0, inclusive=True, hint="0.1 is common")
        check_range(self, "conditional_weight", conditional_weight, 0, inclusive=True, hint="0.1 is common")
        check_range(self, "steps", steps, 1, inclusive=True, hint="1000 are common")
        check_range(self, "lr", lr, 0, hint="0.0001 is common")
        check_range(self, "scale", scale, 0, hint="7.5 is common for squared distances, 10 for cosines")
        check_distance(self, distance)
        self.support_weight, self.conditional_weight = support_weight, conditional_weight
        self.steps, self.lr, self.scale, self.distance = steps, lr, scale, distance

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        start, support, query = begin(support, labels, query, self.distance)
        (ways,) = descend(self.loss, [start], [support, labels, query], partial(Adam, lr=self.lr), self.steps)
        return self.scale * similarity(query, ways, self.distance)

    def loss(self, ways: Tensor, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """What is minimised, of all episodes together."""
        of_support = self._log_probability(support, ways)
        of_query = self._log_probability(query, ways)
        of_all = of_query.logsumexp(dim=1) - math.log(query.shape[1])
        cross_entropy = -(labels * of_support).sum(dim=-1).mean(dim=1)
        conditional = -(of_query.exp() * of_query).sum(dim=-1).mean(dim=1)
        marginal = -(of_all.exp() * of_all).sum(dim=-1)
        return (self.support_weight * cross_entropy - marginal + self.conditional_weight * conditional).sum()

    def _log_probability(self, embedding: Tensor, ways: Tensor) -> Tensor:
        return (self.scale * relative(embedding, ways, self.distance)).log_softmax(dim=-1)


class TIMADM(TransformedRule):
    """The objective of `TIM` by steps in closed form: answers that are wanted, then prototypes for them, in turn (TIM-ADM).

    Args:
        support_weight: of the support's cross-entropy, > 0.
        conditional_weight: of the entropy of each query's answer, ≥ 0.
        steps: of both, ≥ 1.
        scale: of the negative squared distances, > 0; 7.5 is the paper's temperature of 15.
        transform: UN, L2N or CL2N, as for `SimpleShot`.

    Raises:
        ValueError: for values out of range.

    Reference:
        As for `TIM`, section 2, proposition 1.
    """

    transductive = True
    assumes_balance = True

    def __init__(
        self,
        support_weight: float = 0.1,
        conditional_weight: float = 0.1,
        steps: int = 150,
        scale: float = 7.5,
        transform: Transform = "L2N",
    ) -> None:
        super().__init__(transform)
        check_range(self, "support_weight", support_weight, 0, hint="0.1 is common")
        check_range(self, "conditional_weight", conditional_weight, 0, inclusive=True, hint="0.1 is common")
        check_range(self, "steps", steps, 1, inclusive=True, hint="150 are common")
        check_range(self, "scale", scale, 0, hint="7.5 is common")
        self.support_weight, self.conditional_weight = support_weight, conditional_weight
        self.steps, self.scale = steps, scale

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        ways, support, query = begin(support, labels, query, "squared_euclid")
        for _ in range(self.steps):
            ways = self._moved(ways, support, labels, query)
        return self.scale * similarity(query, ways, "squared_euclid")

    def _moved(self, ways: Tensor, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        of_support, of_query = (
            (self.scale * relative(part, ways, "squared_euclid")).log_softmax(dim=-1) for part in (support, query)
        )
        sharp = (1 + self.conditional_weight) * of_query
        wanted = (sharp - sharp.logsumexp(dim=1, keepdim=True) / 2).softmax(dim=-1)
        total, weight = torch.zeros_like(ways), torch.zeros_like(ways[..., :1])
        for embedding, answer, given, share in (
            (support, labels, of_support.exp(), self.support_weight / (1 + self.conditional_weight)),
            (query, wanted, of_query.exp(), support.shape[1] / query.shape[1]),
        ):
            total = total + share * (ways * given.sum(dim=1).unsqueeze(-1) + (answer - given).mT @ embedding)
            weight = weight + share * answer.sum(dim=1).unsqueeze(-1)
        return total / weight


def begin(support: Tensor, labels: Tensor, query: Tensor, distance: Distance) -> tuple[Tensor, Tensor, Tensor]:
    """Prototypes, and support and queries as `relative` wants them: of unit length for cosines, else about the support's mean."""
    if distance == "cosine":
        return prototypes(support, labels), normalize(support, dim=-1), normalize(query, dim=-1)
    centre = support.mean(dim=1, keepdim=True)
    support = support - centre
    return prototypes(support, labels), support, query - centre
