"""Which figures go with which targets."""

from torchmetrics import MetricCollection

from lightning_transfer.metrics.classification import classification_metrics, multi_label_metrics
from lightning_transfer.metrics.regression import regression_metrics
from lightning_transfer.tasks import Task


def usual_metrics(num_classes: int, task: Task) -> MetricCollection:
    """The figures that models of a task report.

    Args:
        num_classes: K.
        task: what the targets are.
    """
    if task == "regression":
        return regression_metrics()
    return multi_label_metrics(num_classes) if task == "multi_label" else classification_metrics(num_classes)
