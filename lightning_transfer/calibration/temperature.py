"""Temperature scaling: one number that logits are divided by."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from lightning_transfer.probes.lbfgs import Point, minimise


def negative_log_likelihood(logits: Tensor, target: Tensor) -> Tensor:
    """What a target costs each image, in nats; the mean over the labels where an image can have several.

    Args:
        logits: (N, K).
        target: (N,) int64, or (N, K) float for several labels an image.

    Shape:
        (N,), float64.

    Example:
        >>> negative_log_likelihood(torch.zeros(1, 4), torch.tensor([2])).exp().item()
        4.0
    """
    if target.ndim == 1:
        return cross_entropy(logits.double(), target, reduction="none")
    return binary_cross_entropy_with_logits(logits.double(), target.double(), reduction="none").mean(dim=1)


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """Find the temperature T whose `logits / T` have the least negative log-likelihood.

    The order of the classes stays, so that no decision changes; for several labels an image one temperature serves all.

    Args:
        logits: (N, K) of a validation split that the model was not trained on.
        target: (N,) int64, or (N, K) float for several labels an image.

    Returns:
        T > 0; above 1 where the model is too sure of itself

    Raises:
        ValueError: if no temperature is best, since every decision is right, or none better than chance.

    Reference:
        Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2.
    """
    unit = float(logits.double().std())
    if not 0 < unit < float("inf"):
        raise ValueError(
            f"the {len(logits)} validation images have equal or infinite logits; no temperature changes that"
        )
    scaled = logits.double() / unit  # the search then is the same whatever the logits are multiplied by

    def cost(inverse: Tensor) -> Point:  # convex in 1/T, strictly so unless all logits of each image are equal
        inverse = inverse.detach().requires_grad_()
        value = negative_log_likelihood(scaled * inverse, target).mean()
        (gradient,) = torch.autograd.grad(value, inverse)
        return Point(value.item(), gradient, gradient.abs().max().item())

    if _all_right(scaled, target):
        raise ValueError(
            f"all {len(logits)} validation images are classified rightly, so that no temperature is cold enough; "
            "a larger validation split would say how sure the model may be"
        )
    if cost(torch.zeros(1, dtype=torch.float64)).gradient.item() >= 0:
        raise ValueError(
            f"on the {len(logits)} validation images the logits say no more than chance, so that no temperature is hot enough"
        )
    return unit / minimise(cost, torch.ones(1, dtype=torch.float64), tolerance=1e-10, max_steps=200).position.item()


def _all_right(logits: Tensor, target: Tensor) -> bool:
    """Whether each target has the largest logit, or the sign of each logit is right, so that the likelihood tends to 1."""
    if target.ndim == 1:
        return bool((logits.gather(1, target[:, None]).squeeze(1) >= logits.amax(dim=1)).all())
    return bool((((target - 0.5) * logits) >= 0).all() and (target.long() == target).all())
