"""Adaptation of the mapping: a pretrained backbone, a new head, and training on the new targets."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torchmetrics import MetricCollection

from lightning_transfer.backbones import as_backbone
from lightning_transfer.contracts import HeadFactory, ImageBatch, ModelEdit, Penalty, StepOutput
from lightning_transfer.heads import LinearHead
from lightning_transfer.losses.supervised import BinaryCrossEntropy, CrossEntropy, MeanSquaredError, SupervisedLoss
from lightning_transfer.metrics import usual_metrics
from lightning_transfer.mixing import Mixing
from lightning_transfer.models import Classifier, Regressor
from lightning_transfer.modules.base import TransferModule
from lightning_transfer.optim import Optim, ParamGroups
from lightning_transfer.tasks import Task, check_task
from lightning_transfer.views import Views, all_views, mean_logits


class FinetuneModule(TransferModule):
    """Fine-tune a backbone, or a probe on it, for new classes or numbers.

    For regression the head learns targets in units of their mean and deviation over the training images, which a datamodule with
    `target_statistics` gives; without one they are taken as they are. The loss is in these units, all else in the targets' own.

    Args:
        backbone: a timm name, a `TimmBackbone`, a timm model, or any module with `num_features` that maps (B, C, H, W) in [0, 1] to
            (B, D).
        num_classes: K, of classes or of targets.
        optim: optimiser, schedule and groups; if not given AdamW at 0.0003, ten times as fast for the head, with warm-up and cosine.
        head: makes the head of (D, K).
        loss: by the task, if not given: cross-entropy, sigmoid cross-entropy, or mean squared error.
        class_weights: `none`; `balanced` by the training data's counts; or a weight for each class name (1 where unnamed).
        edits: applied to the model in turn, before training.
        penalties: added to the loss in training alone, each logged as `train/` and its class in small letters.
        mixing: mixes the images of a batch in training, and their targets.
        test_views: sets of views whose combinations' probabilities are averaged in test and prediction. Validation, which chooses among
            checkpoints after every epoch, looks once; so does an export.
        task: whether an image has one label, several (`multi_label`), or numbers (`regression`).
        class_names: K names.
        image_size: side of the images in pixels; transformers adapt their position embeddings to it.
        metrics: the usual ones of the task if not given.
        channels_last: whether images and weights are laid out with channels last in memory.
        compile: whether the model is compiled by `torch.compile`.

    Raises:
        ValueError: for arguments that do not fit one another.

    Example:
        >>> from lightning_transfer import TimmBackbone
        >>> module = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), num_classes=10)
        >>> module(torch.rand(2, 3, 64, 64)).logits.shape
        torch.Size([2, 10])
    """

    model: Classifier | Regressor

    def __init__(
        self,
        backbone: nn.Module | str,
        num_classes: int,
        optim: Optim | None = None,
        head: HeadFactory = LinearHead,
        loss: SupervisedLoss | None = None,
        class_weights: Literal["none", "balanced"] | dict[str, float] = "none",
        edits: list[ModelEdit] | None = None,
        penalties: list[Penalty] | None = None,
        mixing: Mixing | None = None,
        test_views: list[Views] | None = None,
        task: Task = "classification",
        class_names: list[str] | None = None,
        image_size: int | None = None,
        metrics: MetricCollection | None = None,
        channels_last: bool = True,
        compile: bool = False,  # noqa: A002  # torch's own word
    ) -> None:
        loss = loss or _usual_loss(task)
        _check_fit(task, loss, class_weights, mixing)
        super().__init__(
            num_classes,
            class_names,
            image_size,
            task,
            optim or _recipe(),
            metrics or usual_metrics(num_classes, task),
            channels_last,
            compile,
        )
        kind = Regressor if task == "regression" else Classifier
        self.model = kind(as_backbone(backbone, image_size), head, num_classes)
        self.loss = loss
        if task != "regression":
            self.loss.set_num_classes(num_classes)
        self.mixing = mixing
        self.test_views = test_views or []
        self.class_weights = class_weights
        if isinstance(class_weights, dict):
            self.loss.set_class_weight(_weights_by_name(class_weights, class_names))
        for edit in edits or ():
            edit(self.model)
        self.penalties = _distinct(penalties or [])
        for penalty in penalties or ():
            penalty.remember(self.model)
        self.train(self.training)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and isinstance(self.model, Regressor):
            statistics = getattr(getattr(self.trainer, "datamodule", None), "target_statistics", None)
            if statistics is not None:
                self.model.set_units(*statistics)
        if stage == "fit" and self.class_weights == "balanced":
            counts = getattr(getattr(self.trainer, "datamodule", None), "class_counts", None)
            if counts is None:
                raise ValueError(
                    "class_weights=balanced needs a datamodule with class_counts; give a weight for each class name"
                )
            total = len(self.trainer.datamodule.train_set)  # type: ignore[attr-defined]
            self.loss.balance(counts, total)

    def augment(self, batch: ImageBatch) -> ImageBatch:
        return self.mixing(batch, self.num_classes) if self.mixing is not None else batch

    def test_logits(self, image: Tensor) -> Tensor:
        if not self.test_views:
            return super().test_logits(image)
        return mean_logits([self(view).logits for view in all_views(image, self.test_views)], self.task)

    def step(self, batch: ImageBatch) -> StepOutput:
        testing = self._trainer is not None and self._trainer.testing
        logits = self.test_logits(batch.image) if testing else self(batch.image).logits
        compared = logits, batch.target
        if isinstance(self.model, Regressor):
            compared = self.model.standardise(logits), self.model.standardise(batch.target)
        return StepOutput(self.loss(*compared), {}, logits, batch.target)

    def regularise(self, output: StepOutput) -> StepOutput:
        terms = {_term(penalty): penalty(self.model) for penalty in self.penalties}
        return output._replace(loss=sum(terms.values(), output.loss), terms=output.terms | terms)


def _usual_loss(task: Task) -> SupervisedLoss:
    check_task(task)
    kinds = {"classification": CrossEntropy, "multi_label": BinaryCrossEntropy, "regression": MeanSquaredError}
    loss: SupervisedLoss = kinds[task]()
    return loss


def _check_fit(task: Task, loss: SupervisedLoss, class_weights: str | dict[str, float], mixing: Mixing | None) -> None:
    """Refuse arguments that do not fit one another."""
    check_task(task)
    name = type(loss).__name__
    if task not in loss.tasks:
        raise ValueError(
            f"loss={name} is for {' and '.join(loss.tasks)}, but the targets are task={task}; "
            f"{type(_usual_loss(task)).__name__} is the usual loss"
        )
    if task == "regression":
        for argument, given in (("class_weights", class_weights != "none"), ("mixing", mixing is not None)):
            if given:
                raise ValueError(f"{argument} is for classes, but task=regression has none; leave it out")
    if mixing is not None and not loss.takes_soft_targets:
        raise ValueError(
            f"mixing={type(mixing).__name__} gives an image shares of several classes, but loss={name} takes one class an image; "
            "use CrossEntropy, or no mixing"
        )


def _distinct(penalties: list[Penalty]) -> nn.ModuleList:
    names = [_term(penalty) for penalty in penalties]
    if len(set(names)) < len(names):
        raise ValueError(f"penalties={names} name one class twice; give each once, the log could not tell them apart")
    return nn.ModuleList(penalties)


def _term(penalty: nn.Module) -> str:
    return type(penalty).__name__.lower()


def _recipe() -> Optim:
    """The recipe of `configs/finetune`, chosen on validation images of stamps and emoji."""
    return Optim(partial(AdamW, lr=3e-4, weight_decay=0.05), groups=ParamGroups(head_multiplier=10))


def _weights_by_name(weights: dict[str, float], class_names: list[str] | None) -> Tensor:
    unknown = sorted(set(weights) - set(class_names or ()))
    if class_names is None or unknown:
        raise ValueError(f"class_weights names {unknown}, but the classes are {(class_names or [])[:10]}")
    return torch.tensor([float(weights.get(name, 1.0)) for name in class_names])
