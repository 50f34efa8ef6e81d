"""What is measured where a language model chooses: raw and calibrated, whether it tells classes apart at all, and which it prefers."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC
from torchmetrics.utilities import dim_zero_cat

from lightning_transfer.metrics.classification import classification_metrics


class CalibratedAccuracy(MulticlassAccuracy):
    """The share of samples whose calibrated answer is right."""

    def update(self, calibrated: Tensor, target: Tensor) -> None:
        super().update(calibrated, target)


class PredictedShare(Metric):
    """The share of samples that are taken for a class, right or wrong.

    Args:
        index: of the class.

    Shape:
        logits (B, K)

    Example:
        >>> metric = PredictedShare(1)
        >>> metric.update(torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0], [0.0, 1.0]]))
        >>> metric.compute()
        tensor(0.7500)
    """

    taken: Tensor
    total: Tensor

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index
        self.add_state("taken", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, preds: Tensor) -> None:
        self.taken += (preds.argmax(dim=-1) == self.index).sum()
        self.total += len(preds)

    def compute(self) -> Tensor:
        return self.taken / self.total


def choosing_metrics(class_names: Sequence[str], calibrated: bool) -> MetricCollection:
    """The usual figures of classifiers on raw answers, and what parts a lack of knowledge from a preference for a word.

    `auroc` is the area under the ROC curve, the mean over classes, which no preference changes where there are two; `accuracy_calibrated` is
    that after contextual calibration; `share/NAME` says how many samples are taken for a class.

    Args:
        class_names: K.
        calibrated: whether there are calibrated answers.
    """
    count = len(class_names)
    more: dict[str, Any] = {"auroc": _AUROC(count, average="macro")}
    if calibrated:
        more["accuracy_calibrated"] = CalibratedAccuracy(count, average="micro")
    more |= {f"share/{name}": PredictedShare(k) for k, name in enumerate(class_names)}
    return MetricCollection({**dict(classification_metrics(count).items()), **more}, compute_groups=False)


class _AUROC(MulticlassAUROC):
    """Of log-odds, which do not round to 0 and 1 as probabilities do; not a number where all samples are of one class."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        odds = preds.double().log_softmax(dim=-1)
        others = torch.stack([_without(odds, k).logsumexp(dim=-1) for k in range(odds.shape[1])], dim=1)
        squashed = (odds - others).atan() / torch.pi + 0.5  # torchmetrics would put logits through a softmax
        super().update(squashed, target)

    def compute(self) -> Tensor:  # type: ignore[override]
        if len(torch.unique(dim_zero_cat(self.target))) < 2:
            return torch.tensor(torch.nan, device=self.device)
        with warnings.catch_warnings():  # of classes that do not occur, which the mean leaves out
            warnings.simplefilter("ignore")
            return super().compute()


def _without(values: Tensor, k: int) -> Tensor:
    return torch.cat([values[:, :k], values[:, k + 1 :]], dim=1)
