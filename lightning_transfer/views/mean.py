"""One prediction of several."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from lightning_transfer.tasks import Task


def mean_logits(logits: Sequence[Tensor], task: Task) -> Tensor:
    """Logits of the mean probability: what softmax, or sigmoid, turns into the mean of the views' probabilities; or the mean of values.

    Args:
        logits: (B, K) of each view.
        task: what the targets are.

    Example:
        >>> views = [torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])]
        >>> mean_logits(views, "classification").softmax(-1)[0, 0].round(decimals=4)  # (0.5 + 0.8808) / 2
        tensor(0.6904)
    """
    stacked = torch.stack([one.float() for one in logits])
    if task == "regression":
        return stacked.mean(dim=0)
    if task == "multi_label":
        return _log_mean(logsigmoid(stacked)) - _log_mean(logsigmoid(-stacked))
    return _log_mean(log_softmax(stacked, dim=-1))


def _log_mean(logarithm: Tensor) -> Tensor:
    return logarithm.logsumexp(dim=0) - math.log(len(logarithm))
