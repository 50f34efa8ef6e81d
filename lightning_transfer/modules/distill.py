"""Adaptation through the outputs: a student learns from a teacher's predictions and features."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import islice
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import MetricCollection

from lightning_transfer.backbones import as_backbone
from lightning_transfer.contracts import DistillLoss, HeadFactory, ImageBatch, ModelEdit, Prediction, StepOutput
from lightning_transfer.heads import LinearHead
from lightning_transfer.losses.distill import Labels
from lightning_transfer.losses.distill.names import by_name, weights_by_name
from lightning_transfer.metrics import usual_metrics
from lightning_transfer.mixing import Mixing
from lightning_transfer.models import Classifier
from lightning_transfer.models.layers import find_layer, recorded
from lightning_transfer.modules.base import TransferModule, check_range
from lightning_transfer.optim import Optim
from lightning_transfer.parts import UndescribableError, describe
from lightning_transfer.seeds import derived_seed, run_seed
from lightning_transfer.teachers import Teacher, as_teacher
from lightning_transfer.teachers.examine import probabilities, require_better_than_chance, require_same_classes
from lightning_transfer.teachers.modality import grey_batch, in_modality


class DistillModule(TransferModule):
    """Train a student by a weighted sum of losses against a teacher, which sees the same images, or the same samples in another modality.

    Validation and test measure the student alone, by cross-entropy and the metrics: they need no teacher. Logged in training are each
    loss without its weight, under its name; its temperature; and `teacher_entropy`, in nats at temperature 1. The teacher's accuracy
    in validation is `teacher/accuracy`.

    Args:
        backbone: the student's, as for `FinetuneModule`.
        teacher: from `teachers`, or a module that maps images in [0, 1] to logits (B, K) or a `Prediction`.
        num_classes: K.
        losses: from `losses.distill`, by the names that they are logged under.
        weights: of the losses, ≥ 0; 1 where a loss is not named.
        teacher_modality: what the teacher sees of a batch instead of the images, by its name in `ImageBatch.modalities`. Its classes need
            not be named like the student's then: what is known by its look and what is known by its sound may have unlike names.
        warmup_epochs: over which all weights but that of `Labels` rise linearly.
        optim: optimiser, schedule and groups; AdamW at 0.001 with warm-up and cosine if not given.
        head: makes the head of (D, K).
        edits: applied to the student in turn, before training.
        mixing: mixes the images of a batch in training before both see them, and their targets.
        class_names: K names; the teacher's must be the same.
        image_size: side of the images in pixels.
        metrics: the usual ones for classification if not given.
        channels_last: whether images and weights are laid out with channels last in memory.
        compile: whether the student is compiled by `torch.compile`.

    Raises:
        ValueError: for weights, names or losses that do not fit; when a training begins also for a teacher that cannot be had, knows
            other classes or is at chance level, and for layers that do not exist or cannot be compared.

    Example:
        >>> from lightning_transfer import TimmBackbone
        >>> from lightning_transfer.losses.distill import Labels, SoftTargetKL
        >>> from lightning_transfer.teachers import TimmTeacher
        >>> teacher = TimmTeacher("test_vit", pretrained=False, options={"num_classes": 10})
        >>> losses = {"labels": Labels(), "soft": SoftTargetKL(temperature=4)}
        >>> module = DistillModule(TimmBackbone("test_resnet", pretrained=False), teacher, 10, losses, {"labels": 0.1, "soft": 0.9})
        >>> module(torch.rand(2, 3, 64, 64)).logits.shape
        torch.Size([2, 10])
    """

    model: Classifier

    def __init__(
        self,
        backbone: nn.Module | str,
        teacher: Teacher | nn.Module,
        num_classes: int,
        losses: dict[str, DistillLoss],
        weights: dict[str, float] | None = None,
        teacher_modality: str | None = None,
        warmup_epochs: int = 0,
        optim: Optim | None = None,
        head: HeadFactory = LinearHead,
        edits: list[ModelEdit] | None = None,
        mixing: Mixing | None = None,
        class_names: list[str] | None = None,
        image_size: int | None = None,
        metrics: MetricCollection | None = None,
        channels_last: bool = True,
        compile: bool = False,  # noqa: A002  # torch's own word
    ) -> None:
        super().__init__(
            num_classes,
            class_names,
            image_size,
            "classification",
            optim or Optim(),
            metrics or usual_metrics(num_classes, "classification"),
            channels_last,
            compile,
        )
        self.model = Classifier(as_backbone(backbone, image_size), head, num_classes)
        for edit in edits or ():
            edit(self.model)
        self.teacher = as_teacher(teacher)
        self.losses = by_name(losses)
        self.weights = weights_by_name(losses, weights or {})
        if warmup_epochs < 0:
            raise ValueError(f"warmup_epochs={warmup_epochs} must be at least 0")
        self.teacher_modality = teacher_modality
        self.warmup_epochs = warmup_epochs
        self.mixing = mixing
        self._completed = False
        self._refuse(losses, compile)
        self.train(self.training)

    def _refuse(self, losses: dict[str, DistillLoss], compiled: bool) -> None:
        if self.mixing is not None and self.teacher_modality is not None:
            raise ValueError(
                f"mixing={type(self.mixing).__name__} mixes what the student sees, but the teacher sees teacher_modality="
                f"{self.teacher_modality!r}; leave one of them out"
            )
        for name, loss in losses.items():
            if self.mixing is not None and loss.needs_class:
                raise ValueError(
                    f"mixing={type(self.mixing).__name__} gives an image shares of several classes, but losses.{name}="
                    f"{type(loss).__name__} takes one class an image; leave one of them out"
                )
            if compiled and loss.student_layers:
                raise ValueError(
                    f"losses.{name} names layers of the student, which a compiled one no longer has; set compile=false"
                )
            for layer in loss.student_layers:
                find_layer(self.model, layer, "student")

    def _pairs(self) -> Iterator[tuple[str, DistillLoss]]:
        yield from self.losses.items()  # type: ignore[misc]  # all are

    def complete(self) -> None:
        if not self._completed:
            with isolate_rng():  # what is drawn here depends on the seed alone, in one process and in several
                torch.manual_seed(derived_seed(run_seed(), self.num_classes))
                self._complete()
            self._completed = True

    def _complete(self) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if getattr(data, "task", self.task) != self.task:
            raise ValueError(f"distillation is of classes, but the data's task is {data.task}")  # type: ignore[union-attr]
        self.teacher.prepare(data, self._taught_layers(), self.mixing is not None)
        own = {id(parameter) for parameter in self.model.parameters()}
        if any(id(parameter) in own for parameter in self.teacher.parameters()):
            raise ValueError("the teacher shares weights with the student, which it would freeze; give it a copy")
        student, teacher = self._example(self.image_size or getattr(data, "image_size", None))
        if any(loss.compares_classes for _, loss in self._pairs()):
            self._compare_classes(teacher.logits.shape[-1])
        source = getattr(getattr(data, "train_set", None), "source", None)
        for name, loss in self._pairs():
            try:
                loss.prepare(student, teacher, getattr(source, "targets", None))
            except ValueError as error:
                raise ValueError(f"losses.{name}: {error}") from error
            loss.to(self.device)
        # such buffers are the same in all processes anyway; two banks a step are much to send around
        self._ddp_params_and_buffers_to_ignore = [
            f"losses.{name}.{buffer}" for name, loss in self._pairs() for buffer in loss.identical_buffers
        ]

    def _example(self, side: int | None) -> tuple[Prediction, Prediction]:
        """Show both two grey images, so that losses can see the shapes of what they compare."""
        if side is None:
            raise ValueError(
                "image_size must be given where no datamodule tells it: losses are made for the shapes of layers"
            )
        images = getattr(getattr(self.trainer, "datamodule", None), "train_set", None)
        batch = grey_batch(side, self.teacher_modality, images, self.device)
        training = self.training
        try:
            with torch.no_grad():
                return self.eval()._predict(batch, self.teacher.example)
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f"student or teacher refuses images of {side}x{side} pixels: {error}; set another image_size"
            ) from error
        finally:
            self.train(training)

    def _compare_classes(self, taught: int) -> None:
        if taught != self.num_classes:
            raise ValueError(
                f"the teacher knows {taught} classes, the student learns {self.num_classes}: their logits cannot be compared; take a "
                "teacher of the same classes, or losses of features"
            )
        if self.teacher_modality is None:
            require_same_classes({"the teacher": self.teacher.class_names, "the data": self.class_names})

    def learners(self) -> nn.Module:
        return nn.ModuleDict({"backbone": self.model.backbone, "head": self.model.head, "losses": self.losses})

    def on_train_start(self) -> None:
        if any(loss.compares_classes for _, loss in self._pairs()):
            with isolate_rng():  # a loader draws a number when it is asked for batches
                taught = map(self._taught, self._validation_batches())
                counts = self.teacher.count_right(taught, self.num_classes)
            right, total = self.trainer.strategy.reduce(counts.to(self.device), reduce_op="sum").cpu()
            require_better_than_chance(torch.stack([right, total]))
            if total.sum():
                self.log("teacher/accuracy", right.sum() / total.sum())

    def _validation_batches(self) -> Iterator[ImageBatch]:
        loaders = self.trainer.val_dataloaders
        loader = loaders[0] if isinstance(loaders, list) and loaders else loaders or ()
        most = self.trainer.num_val_batches[0] if self.trainer.num_val_batches else 0
        for batch in islice(loader, int(min(most, len(loader)))):
            yield self.trainer.strategy.batch_to_device(batch, self.device)

    def augment(self, batch: ImageBatch) -> ImageBatch:
        if self.mixing is None:
            return batch
        if not any(loss.needs_target for _, loss in self._pairs()):  # images can be mixed without labels
            batch = batch._replace(target=batch.image.new_zeros(len(batch.image), self.num_classes))
        return self.mixing(batch, self.num_classes)

    def step(self, batch: ImageBatch) -> StepOutput:
        if not self.training:
            logits = self(batch.image).logits
            return StepOutput(cross_entropy(logits.float(), batch.target), {}, logits, batch.target)
        student, teacher = self._predict(batch, partial(self.teacher.teach, epoch=self.current_epoch))
        with torch.autocast(self.device.type, enabled=False):  # losses compute in single precision
            values = {name: self._ask(loss, student, teacher, batch) for name, loss in self._pairs()}
        loss = torch.stack([self._weight(name) * value for name, value in values.items()]).sum()
        return StepOutput(loss, self._terms(values, teacher), student.logits, batch.target)

    def _taught_layers(self) -> list[str]:
        return [layer for _, loss in self._pairs() for layer in loss.teacher_layers]

    def _predict(self, batch: ImageBatch, ask: Callable[[ImageBatch], Prediction]) -> tuple[Prediction, Prediction]:
        """What both say of the same images, with the layers that losses name."""
        own = [layer for _, loss in self._pairs() for layer in loss.student_layers]
        taught = self._taught_layers()
        with recorded(self.model, own, "student") as seen:
            student = self(batch.image)
        watched: AbstractContextManager[dict[str, Tensor]] = nullcontext({})
        if taught:  # otherwise the teacher need not have a network at hand
            watched = recorded(self.teacher.network, taught, "teacher")
        with watched as shown:
            teacher = ask(self._taught(batch))
        return _with_layers(student, seen), _with_layers(teacher, shown)

    def _taught(self, batch: ImageBatch) -> ImageBatch:
        """A batch as the teacher sees it."""
        return in_modality(batch, self.teacher_modality)

    def _ask(self, loss: DistillLoss, student: Prediction, teacher: Prediction, batch: ImageBatch) -> Tensor:
        further = {"indices": batch.indices} if loss.needs_indices else {}
        value: Tensor = loss(student, teacher, batch.target, **further)
        return value

    def _weight(self, name: str) -> float:
        warm = 1.0
        if self.warmup_epochs and not isinstance(self.losses[name], Labels):
            warm = min((self.current_epoch + 1) / self.warmup_epochs, 1.0)
        return warm * self.weights[name]

    @torch.no_grad()
    def _terms(self, values: dict[str, Tensor], teacher: Prediction) -> dict[str, Tensor]:
        p = probabilities(teacher)
        terms = {name: value.detach() for name, value in values.items()}
        terms["teacher_entropy"] = torch.special.entr(p).sum(dim=1).mean()
        for name, loss in self._pairs():
            temperature = getattr(loss, "temperature", None)
            if temperature is not None:
                terms[f"{name}_temperature"] = p.new_tensor(temperature)
        return terms

    def _check(self, batch: ImageBatch) -> None:
        super()._check(batch)
        if self.training:
            check_range(self._taught(batch).image)
        wanting = [name for name, loss in self._pairs() if loss.needs_target]
        if self.training and wanting and batch.target.min() < 0:
            raise ValueError(f"some images have no label, which losses={wanting} need; leave these out, or such images")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        with suppress(UndescribableError):  # a class of the user's stays as it was given
            # by now it knows the hash of its file
            checkpoint["hyper_parameters"]["teacher"] = describe(self.teacher, "teacher")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if not self._completed:  # only a training wants what the losses have learned
            own = self.state_dict()
            weights = checkpoint["state_dict"]
            checkpoint["state_dict"] = {k: v for k, v in weights.items() if k in own or not k.startswith("losses.")}


def _with_layers(prediction: Prediction, layers: dict[str, Tensor]) -> Prediction:
    return prediction._replace(features=prediction.features._replace(layers=layers))
