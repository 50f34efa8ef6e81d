"""Logistic regression on the support, to the optimum."""

import torch
from torch import Tensor
from torch.nn.functional import pad

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
        Böhning, "Multinomial logistic regression algorithm", Annals of the Institute of Statistical Mathematics 1992 (the bound);
        O'Donoghue, Candès, "Adaptive Restart for Accelerated Gradient Schemes", Foundations of Computational Mathematics 2015.
    """

    def __init__(self, c: float = 1.0, steps: int = 100, transform: Transform = "L2N") -> None:
        super().__init__(transform)
        check_range(self, "c", c, 0, hint="1 is common")
        check_range(self, "steps", steps, 1, inclusive=True, hint="100 are common")
        self.c, self.steps = c, steps

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        c = self.c / 2 if labels.shape[-1] == 2 else self.c  # of two ways scikit-learn penalises the one difference
        gram = support @ support.mT
        found = _fit(pad(gram, (0, 1), value=1.0), _bordered(gram, c).inverse(), labels, c, self.steps)
        return query @ (support.mT @ found[:, :-1]) + found[:, -1:]


def _fit(seen: Tensor, inverse: Tensor, labels: Tensor, c: float, steps: int) -> Tensor:
    """A and, below it, the intercepts, (E, S + 1, K): Nesterov's steps, begun anew where one goes back.

    Args:
        seen: (E, S, S + 1), the logits of the support from A and intercepts.
        inverse: (E, S + 1, S + 1), of the bound's curvature.
        labels: (E, S, K).
        c: inverse strength of the penalty.
        steps: number of them.
    """
    found = moved = labels.new_zeros(len(labels), labels.shape[1] + 1, labels.shape[2])
    run = labels.new_ones(len(labels), 1, 1)  # steps since the last beginning
    for _ in range(steps):
        ahead = found + (run - 1) / (run + 2) * moved
        residual = c * ((seen @ ahead).softmax(dim=-1) - labels)
        inner = ahead[:, :-1]
        step = inverse @ torch.cat([residual + inner, inner.sum(dim=1, keepdim=True)], dim=1)
        found, moved = ahead - step, ahead - step - found
        back = ((seen @ step) * (seen @ moved)).sum(dim=(1, 2), keepdim=True) > 0
        run = torch.where(back, 1, run + 1)
    return found


def _bordered(gram: Tensor, c: float) -> Tensor:
    """½ c G + I, bordered by ½ c for the intercepts and by 1 for the sum of A, which is 0 at the optimum; (E, S + 1, S + 1)."""
    size = gram.shape[-1]
    system = gram.new_zeros(len(gram), size + 1, size + 1)
    system[:, :-1, :-1] = c / 2 * gram + torch.eye(size, dtype=gram.dtype, device=gram.device)
    system[:, :-1, -1] = c / 2
    system[:, -1, :-1] = 1
    return system
