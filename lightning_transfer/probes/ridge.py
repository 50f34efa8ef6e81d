"""Ridge regression on the classes, in closed form."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_transfer.contracts import Embedded, FittedProbe, Probe
from lightning_transfer.probes.scaling import scaling
from lightning_transfer.probes.selection import best, check_data, check_values, one_hot, score


class RidgeProbe(Probe):
    """Least squares on targets of +1 for an image's classes and -1 for others, with penalty `strength × |W|²`, intercept without.

    Targets that are numbers are learned as they are, and R² on the validation split chooses one strength for all of them.

    One eigendecomposition, of the Gram matrix of dimensions or, where there are fewer, of images, serves all strengths. The scores are
    scikit-learn's `RidgeClassifier`'s; they are no log-probabilities, and their calibration error says little.

    Args:
        strength: of the penalty, > 0, scikit-learn's `alpha`; of several, the validation split chooses, the greatest of equals.
        standardise: whether embeddings are divided by their training standard deviation, which the penalty then acts on. The head
            takes raw embeddings either way.

    Raises:
        ValueError: for values out of range, fewer than two classes, or several strengths without validation images.

    Reference:
        Rifkin, Lippert, "Notes on Regularized Least Squares", MIT-CSAIL-TR-2007-025.
    """

    tasks = ("classification", "multi_label", "regression")

    def __init__(
        self,
        strength: Sequence[float] = (1e-1, 1.0, 10.0, 1e2, 1e3, 1e4, 1e5),
        standardise: bool = True,
    ) -> None:
        check_values("strength", strength)
        self.strength = sorted(strength, reverse=True)
        self.standardise = standardise

    def fit(self, train: Embedded, val: Embedded | None, num_classes: int) -> FittedProbe:
        hint = f"strength=[{self.strength[len(self.strength) // 2]:g}]"
        val = check_data(len(self.strength), hint, train, val, num_classes, self.tasks)
        scale = scaling(train.embedding, self.standardise)
        numbers = train.task == "regression"
        target = train.target.double() if numbers else 2 * one_hot(train.target, num_classes, torch.float64) - 1
        bias = target.mean(0)
        solver = _decompose(scale(train.embedding), target - bias)
        chosen = 0
        if val is not None:
            projected = scale(val.embedding).double() @ solver.basis
            scores = [score(projected @ solver.inner(s) + bias, val.target, val.task) for s in self.strength]
            chosen = best(scores)
        weight = solver.basis @ solver.inner(self.strength[chosen])
        return FittedProbe(scale.head(weight.T, bias, train.embedding), {"strength": self.strength[chosen]})


class _Solver(NamedTuple):
    """All that ridge regression needs of its data: weights are `basis @ (projected / (eigenvalue + strength))`.

    Shape:
        basis (D, R), eigenvalue (R,), projected (R, K); R is the lesser of N and D.
    """

    basis: Tensor
    eigenvalue: Tensor
    projected: Tensor

    def inner(self, strength: float) -> Tensor:
        """The weights in the basis, (R, K)."""
        return self.projected / (self.eigenvalue[:, None] + strength)


def _decompose(embedding: Tensor, target: Tensor) -> _Solver:
    """The primal problem for N ≥ D, else the dual; in double precision, of which only one part at a time is held in the primal."""
    if len(embedding) < embedding.shape[1]:
        embedding = embedding.double()
        eigenvalue, vector = torch.linalg.eigh(embedding @ embedding.T)
        return _Solver(embedding.T @ vector, eigenvalue.clamp(min=0), vector.T @ target)
    gram = target.new_zeros(embedding.shape[1], embedding.shape[1])
    moment = target.new_zeros(embedding.shape[1], target.shape[1])
    for part, part_target in zip(torch.split(embedding, 8192), torch.split(target, 8192), strict=True):
        part = part.double()
        gram.addmm_(part.T, part)
        moment.addmm_(part.T, part_target)
    eigenvalue, vector = torch.linalg.eigh(gram)
    return _Solver(vector, eigenvalue.clamp(min=0), vector.T @ moment)
