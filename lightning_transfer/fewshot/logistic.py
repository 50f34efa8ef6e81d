"""Logistic regression on the support, to the optimum."""

import torch
from torch import Tensor

from lightning_transfer.fewshot.base import check_range
from lightning_transfer.fewshot.transform import Transform, TransformedRule


class LogisticRule(TransformedRule):
    """Multinomial logistic regression with an L2 penalty on the weights and none on the intercepts, scikit-learn's objective.

    Minimises c · Σ CE + ½ |W|² by steps that each minimise an upper bound, whose curvature is the same in all of them: one inverse of a
    matrix of the support's size serves all steps and ways, whatever the width. W = XᵀA throughout.

    Args:
        c: inverse strength of the penalty, > 0, scikit-learn's `C`.
        steps: ≥ 1; the greater c, the more are needed.
        transform: UN, L2N or CL2N, as for `SimpleShot`.

    Raises:
        ValueError: for values out of range.

    Reference:
        Tian, Wang, Krishnan, Tenenbaum, Isola, "Rethinking Few-Shot Image Classification: A Good Embedding Is All You Need?", ECCV 2020;
        Böhning, "Multinomial logistic regression algorithm", Annals of the Institute of Statistical Mathematics 1992 (the bound).
    """

    def __init__(self, c: float = 1.0, steps: int = 100, transform: Transform = "L2N") -> None:
        super().__init__(transform)
        check_range(self, "c", c, 0, hint="1 is common")
        check_range(self, "steps", steps, 1, inclusive=True, hint="100 are common")
        self.c, self.steps = c, steps

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        c = self.c / 2 if labels.shape[-1] == 2 else self.c  # of two ways scikit-learn penalises the one difference
        gram = support @ support.mT
        inverse = _bordered(gram, c).inverse()
        inner, bias = torch.zeros_like(labels), torch.zeros_like(labels[:, :1])
        for _ in range(self.steps):
            residual = c * ((gram @ inner + bias).softmax(dim=-1) - labels)
            step = inverse @ torch.cat([residual + inner, inner.sum(dim=1, keepdim=True)], dim=1)
            inner, bias = inner - step[:, :-1], bias - step[:, -1:]
        return query @ (support.mT @ inner) + bias


def _bordered(gram: Tensor, c: float) -> Tensor:
    """½ c G + I, bordered by ½ c for the intercepts and by 1 for the sum of A, which is 0 at the optimum; (E, S + 1, S + 1)."""
    size = gram.shape[-1]
    system = gram.new_zeros(len(gram), size + 1, size + 1)
    system[:, :-1, :-1] = c / 2 * gram + torch.eye(size, dtype=gram.dtype, device=gram.device)
    system[:, :-1, -1] = c / 2
    system[:, -1, :-1] = 1
    return system
