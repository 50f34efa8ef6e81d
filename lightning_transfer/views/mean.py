"""One prediction of several."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid


def mean_logits(logits: Sequence[Tensor], multi_label: bool) -> Tensor:
    """Logits of the mean probability: what softmax, or sigmoid, turns into the mean of the views' probabilities.

    Args:
        logits: (B, K) of each view.
        multi_label: whether an image can have several labels.

    Example:
        >>> views = [torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])]
        >>> mean_logits(views, multi_label=False).softmax(-1)[0, 0].round(decimals=4)  # (0.5 + 0.8808) / 2
        tensor(0.6904)
    """
    stacked = torch.stack([one.float() for one in logits])
    if multi_label:
        return _log_mean(logsigmoid(stacked)) - _log_mean(logsigmoid(-stacked))
    return _log_mean(log_softmax(stacked, dim=-1))


def _log_mean(logarithm: Tensor) -> Tensor:
    return logarithm.logsumexp(dim=0) - math.log(len(logarithm))
