"""How well episodes are answered, and how sure that is."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

_NORMAL_95 = 1.96  # two-sided, of the normal distribution


class EpisodeAccuracy(Metric):
    """The mean over episodes of the share of queries that are answered right.

    Shape:
        update: logits (E, Q, K), target (E, Q) int64; the shapes may differ from update to update

    Example:
        >>> metric = EpisodeAccuracy()
        >>> metric.update(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0, 0]]))
        >>> metric.compute().item()
        0.5
    """

    is_differentiable = False
    higher_is_better: bool | None = True
    full_state_update = False

    accuracy: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("accuracy", [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, target: Tensor) -> None:
        self.accuracy.append((logits.argmax(dim=-1) == target).float().mean(dim=-1))

    def _of_episodes(self) -> Tensor:
        found = self.accuracy
        return found if isinstance(found, Tensor) else torch.cat(found)  # one tensor once processes are gathered

    def compute(self) -> Tensor:
        return self._of_episodes().mean()


class EpisodeInterval(EpisodeAccuracy):
    """Half the width of the 95 % interval of the mean accuracy over episodes: 1.96 · std / √n, not a number for one episode.

    Shape:
        update: as for `EpisodeAccuracy`

    Example:
        >>> metric = EpisodeInterval()
        >>> metric.update(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), torch.tensor([[0], [0]]))
        >>> round(metric.compute().item(), 4)
        0.98
    """

    higher_is_better: bool | None = False

    def compute(self) -> Tensor:
        return half_width(self._of_episodes())


def half_width(values: Tensor) -> Tensor:
    """Half the width of the 95 % interval of a mean: 1.96 · std / √n.

    Args:
        values: (N,), one an episode.
    """
    if len(values) < 2:
        return values.new_tensor(float("nan"))
    half: Tensor = _NORMAL_95 * values.std() / len(values) ** 0.5
    return half


def episode_metrics() -> MetricCollection:
    """What is measured of episodes: `accuracy`, and `accuracy_ci95`, half the width of its 95 % interval."""
    return MetricCollection({"accuracy": EpisodeAccuracy(), "accuracy_ci95": EpisodeInterval()})
