"""Logistic regression, fitted to the optimum."""

from collections.abc import Sequence
from warnings import warn

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lightning_transfer.contracts import Embedded, FittedProbe, Probe
from lightning_transfer.heads import LinearHead
from lightning_transfer.probes.lbfgs import Point, minimise
from lightning_transfer.probes.scaling import scaling
from lightning_transfer.probes.selection import best, check_data, check_values, one_hot, score

_ABSENT = -1e4  # bias of a class that training does not show: its probability is zero, its logarithm still a number


class LogisticProbe(Probe):
    """Multinomial logistic regression with an L2 penalty; with several labels an image, one binary regression a class.

    Minimises `c Σ loss + ½ |W|²` over the weights W and an intercept without penalty, by L-BFGS. This is scikit-learn's objective with
    its `C`: of two classes one weight vector stands for both, as there.

    Args:
        c: inverse strengths of the penalty, > 0; of several, fitted from the least one up, each starting from the one before,
            the validation split chooses, the least of equals.
        standardise: whether embeddings are divided by their training standard deviation, which the penalty then acts on. The head
            takes raw embeddings either way.
        tolerance: the descent ends where no entry of the gradient is greater than this share of the objective. scikit-learn's `tol`
            is for the gradient of `objective / (c N)` alone, which ends early where the loss is small.
        max_steps: limit of the descent for one c; a warning says if it was reached.

    Raises:
        ValueError: for values out of range, fewer than two classes, or several c without validation images.

    Reference:
        Liu, Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical Programming 1989.
    """

    def __init__(
        self,
        c: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0),
        standardise: bool = True,
        tolerance: float = 1e-4,
        max_steps: int = 1000,
    ) -> None:
        check_values("c", c)
        if tolerance <= 0 or max_steps < 1:
            raise ValueError(f"tolerance={tolerance} must be positive and max_steps={max_steps} at least 1")
        self.c = sorted(c)
        self.standardise = standardise
        self.tolerance = tolerance
        self.max_steps = max_steps

    def fit(self, train: Embedded, val: Embedded | None, num_classes: int) -> FittedProbe:
        val = check_data(len(self.c), f"c=[{self.c[len(self.c) // 2]:g}]", train, val, num_classes)
        scale = scaling(train.embedding, self.standardise)
        shown = _shown(train.target, num_classes)
        target = one_hot(train.target, num_classes, torch.float64)[:, shown]
        problem = Logistic(scale(train.embedding), target, exclusive=train.target.ndim == 1)
        heads, scores, solution = [], [], problem.start()
        for c in self.c:
            solution = problem.solve(c, solution, self.tolerance, self.max_steps)
            weight, bias = problem.linear(solution)
            heads.append(_of_all_classes(scale.head(weight, bias, train.embedding), shown, num_classes))
            if val is not None:
                scores.append(score(heads[-1](val.embedding), val.target))
        chosen = best(scores) if val is not None else 0
        return FittedProbe(heads[chosen], {"c": self.c[chosen]})


class Logistic:
    """The penalised likelihood; its solutions are one row a class, the intercept and then the weights.

    Everything is laid out class by class, (K, N) and (K, D): both products with the embeddings then run along these, which on a CPU was
    up to ten times as fast as the other way round. Preconditioning with a Cholesky factor of the Hessian's bound was tried as well: it
    saves steps only where the penalty is strong, and there are few of them anyway.

    Args:
        embedding: (N, D), centred: then the intercepts hardly depend on the weights.
        target: (N, K) float64.
        exclusive: whether an image has exactly one label, and the classes share a softmax; else each has a sigmoid.

    Shape:
        solutions (J, 1 + D) float64, where J is 1 for two exclusive classes, else K.
    """

    def __init__(self, embedding: Tensor, target: Tensor, exclusive: bool) -> None:
        self.pair = exclusive and target.shape[1] == 2
        self.softmax = exclusive and not self.pair
        self.target = (target[:, 1:] if self.pair else target).T.contiguous()
        self.embedding = embedding
        self.count = len(embedding)

    def start(self) -> Tensor:
        """No weights, and the intercepts that are best without them."""
        share = self.target.mean(1).clamp(0.5 / self.count, 1 - 0.5 / self.count)
        bias = share.log() if self.softmax else share.logit()
        return torch.cat([bias[:, None], bias.new_zeros(len(bias), self.embedding.shape[1])], 1)

    def solve(self, c: float, start: Tensor, tolerance: float, max_steps: int) -> Tensor:
        """Minimise for one c."""

        def function(solution: Tensor) -> Point:
            value, gradient = self.objective(solution.view_as(start), c)
            return Point(value, gradient.flatten(), float(gradient.abs().max()) / value)

        found = minimise(function, start.flatten(), tolerance, max_steps)
        if not found.converged:
            warn(
                f"the logistic probe was not done at c={c:g} after max_steps={max_steps}; raise it, or the tolerance",
                stacklevel=2,
            )
        return found.position.view_as(start)

    def objective(self, solution: Tensor, c: float) -> tuple[float, Tensor]:
        """The objective over c N, that is the mean loss and the penalty, and its gradient."""
        weight = solution[:, 1:]
        # the large products in the embeddings' precision, all else in double
        logits = (weight.to(self.embedding.dtype) @ self.embedding.T).double() + solution[:, :1]
        loss, residual = self._loss(logits)
        slope = (residual.to(self.embedding.dtype) @ self.embedding).double() + weight / c
        value = (loss + weight.square().sum() / (2 * c)) / self.count
        return float(value), torch.cat([residual.sum(1, keepdim=True), slope], 1) / self.count

    def _loss(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the losses, and its derivative by the logits."""
        if self.softmax:
            log_probability = logits.log_softmax(0)
            return -(self.target * log_probability).sum(), log_probability.exp() - self.target
        return (softplus(logits) - self.target * logits).sum(), logits.sigmoid() - self.target

    def linear(self, solution: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (K, D) and bias (K,); of a pair half of the one vector for each, so that the softmax is its sigmoid."""
        rows = torch.cat([-solution, solution]) / 2 if self.pair else solution
        return rows[:, 1:], rows[:, 0]


def _shown(target: Tensor, num_classes: int) -> Tensor:
    """The classes that training shows; with several labels an image all, since the lack of a label teaches too."""
    shown: Tensor = torch.unique(target) if target.ndim == 1 else torch.arange(num_classes, device=target.device)
    return shown


def _of_all_classes(head: LinearHead, shown: Tensor, num_classes: int) -> LinearHead:
    if len(shown) == num_classes:
        return head
    whole = LinearHead(head.in_features, num_classes).to(head.weight)
    with torch.no_grad():
        whole.bias.fill_(_ABSENT)
        whole.weight[shown], whole.bias[shown] = head.weight, head.bias
    return whole
