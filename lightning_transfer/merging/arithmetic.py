"""Arithmetic on the weights of like models."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor

Weights = Mapping[str, Tensor]  # a state dict


def interpolate(source: Weights, tuned: Weights, alpha: float) -> dict[str, Tensor]:
    """Go a share of the way from the source's weights to the tuned ones, along a straight line.

    Args:
        source: state dict of the model before fine-tuning, a linear probe on the pretrained backbone for example.
        tuned: state dict of the model after it.
        alpha: share of the way in [0, 1]; 0 gives the source and 1 the tuned model, both bit by bit.

    Returns:
        A new state dict, (1 - alpha) × source + alpha × tuned in floating-point tensors; between the ends others are the tuned ones'.

    Raises:
        ValueError: for a share outside [0, 1], or unlike models, naming the first tensor that differs.

    Reference:
        Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, equation 1.

    Example:
        >>> from torch import tensor
        >>> interpolate({"w": tensor([0.0, 4.0])}, {"w": tensor([1.0, 0.0])}, alpha=0.25)
        {'w': tensor([0.2500, 3.0000])}
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} must lie in [0, 1]; 0 is the source, 1 the tuned model")
    require_alike({"source": source, "tuned": tuned})
    if alpha in (0, 1):  # by arithmetic an infinity on the other side would be NaN, and -0 would be 0
        return {name: tensor.clone() for name, tensor in (tuned if alpha else source).items()}
    return _blend((tuned, source), (alpha, 1 - alpha), 1)


def average(models: Sequence[Weights]) -> dict[str, Tensor]:
    """Give the mean of like models' weights.

    Args:
        models: state dicts, at least one; tensors that are not of floating point are the first one's.

    Raises:
        ValueError: for no model, or unlike ones, naming the first tensor that differs.

    Reference:
        Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
        inference time", ICML 2022, section 2.
    """
    if not models:
        raise ValueError("there is no model to average; give at least one")
    require_alike({f"model {i}": weights for i, weights in enumerate(models)})
    return _blend(models, [1] * len(models), len(models))


def require_alike(models: Mapping[str, Weights]) -> None:
    """Refuse models whose tensors differ in name, shape or type.

    Args:
        models: what to call each in the complaint, and its state dict.

    Raises:
        ValueError: naming the first tensor that differs.
    """
    for (one, first), (other, second) in pairwise(models.items()):
        for name in [*first, *second]:
            if name not in first or name not in second:
                has, lacks = (one, other) if name in first else (other, one)
                raise ValueError(
                    f"{has} has a tensor {name!r}, which {lacks} lacks; only models of one architecture can be merged"
                )
            kinds = [f"{tuple(w[name].shape)} {str(w[name].dtype).removeprefix('torch.')}" for w in (first, second)]
            if kinds[0] != kinds[1]:
                raise ValueError(
                    f"{name!r} is {kinds[0]} in {one}, but {kinds[1]} in {other}; only models of one architecture can be merged"
                )


def _blend(models: Sequence[Weights], shares: Sequence[float], total: float) -> dict[str, Tensor]:
    blended = {}
    for name, tensor in models[0].items():
        blended[name] = tensor.clone()
        if tensor.is_floating_point():
            # float64: a mean of equal numbers is then that number, and half precision loses nothing on the way
            terms = [share * weights[name].double() for share, weights in zip(shares, models, strict=True)]
            blended[name].copy_(sum(terms[1:], terms[0]) / total)
    return blended
