"""The figures that every classifier reports."""

from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassF1Score,
    MultilabelAccuracy,
    MultilabelAveragePrecision,
    MultilabelF1Score,
)


def classification_metrics(num_classes: int) -> MetricCollection:
    """Accuracy, balance and calibration.

    `accuracy` counts samples alike, `accuracy_macro` classes alike, `accuracy_top5` exists for more than five classes, `f1` is the
    macro average, `ece` the expected calibration error over 15 bins.

    Args:
        num_classes: K.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        "accuracy": MulticlassAccuracy(num_classes, average="micro"),
        "accuracy_macro": MulticlassAccuracy(num_classes, average="macro"),
        "f1": MulticlassF1Score(num_classes, average="macro"),
        "ece": MulticlassCalibrationError(num_classes, n_bins=15, norm="l1"),
    }
    if num_classes > 5:
        metrics["accuracy_top5"] = MulticlassAccuracy(num_classes, average="micro", top_k=5)
    return MetricCollection(metrics, compute_groups=False)


def multi_label_metrics(num_classes: int) -> MetricCollection:
    """With several labels an image: `accuracy` over all image-class pairs, `f1` and the mean average precision `map` as macro averages.

    Args:
        num_classes: K.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        "accuracy": MultilabelAccuracy(num_classes, average="micro"),
        "f1": MultilabelF1Score(num_classes, average="macro"),
        "map": MultilabelAveragePrecision(num_classes, average="macro"),
    }
    return MetricCollection(metrics, compute_groups=False)
