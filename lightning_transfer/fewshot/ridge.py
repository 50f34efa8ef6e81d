"""Ridge regression in closed form, which a backbone can be trained through."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lightning_transfer.fewshot.base import EpisodeRule, check_range


class RidgeRule(EpisodeRule):
    """Least squares on one-hot ways with a penalty, an intercept within it; logits are scale times what the weights say.

    W = (XᵀX / S + strength · I)⁻¹ XᵀY / S, or Xᵀ (X Xᵀ / S + strength · I)⁻¹ Y / S where there are fewer examples than entries, which
    is the same.

    Args:
        strength: of the penalty, > 0; learned by its logarithm.
        scale: of the logits at the start, > 0; learned.
        learned: whether both are trained.

    Raises:
        ValueError: for values out of range.

    Reference:
        Bertinetto, Henriques, Torr, Vedaldi, "Meta-learning with differentiable closed-form solvers", ICLR 2019, section 3 (R2-D2).

    Deviation:
        The paper also learns an offset, the same for all ways, which no softmax sees.
    """

    def __init__(self, strength: float = 1.0, scale: float = 10.0, learned: bool = True) -> None:
        super().__init__()
        check_range(self, "strength", strength, 0, hint="1 is common")
        check_range(self, "scale", scale, 0, hint="10 is common")
        self.log_strength = nn.Parameter(torch.tensor(math.log(strength)), requires_grad=learned)
        self.scale = nn.Parameter(torch.tensor(float(scale)), requires_grad=learned)

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        support, query = (pad(part, (0, 1), value=1.0) for part in (support, query))  # ones for the intercept
        return self.scale * ridge(support, labels, query, self.log_strength.exp())


def ridge(support: Tensor, labels: Tensor, query: Tensor, strength: Tensor) -> Tensor:
    """What ridge regression on the support says of the queries, by the smaller of the two systems of equations.

    Shape:
        support (E, S, D), labels (E, S, K), query (E, Q, D), strength scalar → (E, Q, K)
    """
    count, width = support.shape[1:]
    tall = count >= width
    gram = (support.mT @ support if tall else support @ support.mT) / count
    system = gram + strength * torch.eye(len(gram[0]), dtype=gram.dtype, device=gram.device)
    factor = torch.linalg.cholesky(system)
    if tall:
        return query @ torch.cholesky_solve(support.mT @ labels / count, factor)
    return query @ support.mT @ torch.cholesky_solve(labels / count, factor)
