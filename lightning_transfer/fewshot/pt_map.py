"""Queries are spread over the ways by optimal transport."""

import math

from torch import Tensor
from torch.nn.functional import normalize

from lightning_transfer.fewshot.base import EpisodeRule, check_range
from lightning_transfer.fewshot.distances import prototypes, squared_distances

_SINKHORN = 100  # steps of it: far more than unit lengths need


class PTMAP(EpisodeRule):
    """Each way is given as many queries at the least distance in all, and prototypes move to what they are given.

    Embeddings, which must not be negative as after a ReLU (what is counts as 0), are first raised to a power and brought to unit length.
    Logits are the logarithms of the shares of each query.

    Args:
        power: of the entries, > 0.
        sharpness: of the plan exp(−sharpness · squared distance), > 0.
        momentum: the share of the way that prototypes go in a step, in (0, 1].
        steps: of the prototypes, ≥ 1.

    Raises:
        ValueError: for values out of range.

    Reference:
        Hu, Gripon, Pateux, "Leveraging the Feature Distribution in Transfer-based Few-Shot Learning", ICANN 2021, equations 1 to 6 and
        algorithm 1.

    Deviation:
        The authors' code also centres embeddings over support and queries, and reduces them by a QR decomposition, which keeps distances.
    """

    transductive = True
    assumes_balance = True

    def __init__(self, power: float = 0.5, sharpness: float = 10.0, momentum: float = 0.2, steps: int = 10) -> None:
        super().__init__()
        check_range(self, "power", power, 0, hint="0.5 is common")
        check_range(self, "sharpness", sharpness, 0, hint="10 is common")
        check_range(self, "momentum", momentum, 0, hint="0.2 is common for 5 shots, 0.4 for 1")
        if momentum > 1:
            raise ValueError(f"momentum={momentum} of PTMAP must be at most 1, which goes all the way; 0.2 is common")
        check_range(self, "steps", steps, 1, inclusive=True, hint="10 are common")
        self.power, self.sharpness, self.momentum, self.steps = power, sharpness, momentum, steps

    def see(self, embedding: Tensor) -> Tensor:
        return normalize((embedding.relu() + 1e-6).pow(self.power), dim=-1)

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        ways = prototypes(support, labels)
        shown, count = labels.mT @ support, labels.sum(dim=1).unsqueeze(-1)
        for _ in range(self.steps):
            share = self._plan(query, ways).exp()
            goal = (shown + share.mT @ query) / (count + share.sum(dim=1).unsqueeze(-1))
            ways = ways.lerp(goal, self.momentum)
        return self._plan(query, ways)

    def _plan(self, query: Tensor, ways: Tensor) -> Tensor:
        """Logarithms of a plan (E, Q, K) in which each query is given once, and each way as many."""
        each = math.log(query.shape[1] / ways.shape[1])
        plan = -self.sharpness * squared_distances(query, ways)
        for _ in range(_SINKHORN):
            plan = plan - plan.logsumexp(dim=2, keepdim=True)
            plan = plan - plan.logsumexp(dim=1, keepdim=True) + each
        return plan
