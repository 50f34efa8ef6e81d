"""Batch-norm statistics that fit merged weights: the mean of two networks' statistics is not the statistics of their mean."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_transfer.edits.freeze import keep_frozen_in_eval


class _Moments:
    """Number, mean and squared deviations of each channel over all inputs so far, joined by Chan, Golub and LeVeque's formula, 1979."""

    def __init__(self) -> None:
        self.number = 0
        self.mean = self.deviation = torch.zeros((), dtype=torch.float64)

    def __call__(self, norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        values = inputs[0].float().transpose(0, 1).flatten(1)  # (C, positions and images)
        variance, mean = (moment.cpu().double() for moment in torch.var_mean(values, dim=1, correction=0))
        new, total = values.shape[1], self.number + values.shape[1]
        shift = mean - self.mean
        self.mean = self.mean + shift * new / total
        self.deviation = self.deviation + variance * new + shift.square() * self.number * new / total
        self.number = total


@torch.no_grad()
def recompute_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of batch norm by those of the given images, in place.

    Norms normalise by the batch meanwhile, as in training; dropout and everything else is as in evaluation. Each layer's mean and
    unbiased variance are those over all its inputs at once. Frozen norms keep the statistics that their weights were trained with.

    Args:
        model: left in the modes (training, evaluation) that it was in.
        batches: images (B, C, H, W), each batch on the model's device; not looked at by a model without such norms.

    Raises:
        ValueError: if there is no batch, or batches give a norm a single value a channel.
    """
    modes = {module: module.training for module in model.modules()}
    keep_frozen_in_eval(model.train())
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and m.running_mean is not None]
    model.eval()
    moments = {norm: _Moments() for norm in norms}
    hooks = [norm.register_forward_pre_hook(moment) for norm, moment in moments.items()]
    try:
        for norm in norms:
            norm.training = (
                True  # the flag alone: what timm keeps inside a norm, activation and dropout, stays as it is
            )
        for batch in batches if norms else ():
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    for norm, moment in moments.items():
        _set(norm, moment)


def _set(norm: _BatchNorm, moment: _Moments) -> None:
    if moment.number < 2:
        raise ValueError(
            f"batch norm needs at least two values a channel for its statistics, but saw {moment.number}; give more images"
        )
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(moment.mean)
    norm.running_var.copy_(moment.deviation / (moment.number - 1))
