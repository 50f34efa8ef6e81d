"""Pretraining without labels, or with: an encoder learns from several views of each image."""

import math
from collections.abc import Iterable, Sequence
from copy import deepcopy
from functools import partial
from itertools import groupby
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW, Optimizer
from torchmetrics import MetricCollection

from lightning_transfer.backbones import as_backbone
from lightning_transfer.contracts import ImageBatch, ModelEdit, ProjectorFactory, StepOutput, ViewLoss
from lightning_transfer.heads import LinearHead
from lightning_transfer.losses.gather import gathered
from lightning_transfer.losses.pair import NTXent
from lightning_transfer.metrics import usual_metrics
from lightning_transfer.metrics.collapse import effective_rank, relative_deviation
from lightning_transfer.models.probed import ProbedEncoder
from lightning_transfer.modules.base import TransferModule, check_range
from lightning_transfer.optim import Optim
from lightning_transfer.probes.knn import KnnHead
from lightning_transfer.probes.recent import RecentNeighbours
from lightning_transfer.projectors import MLPProjector


class ContrastiveModule(TransferModule):
    """Pretrain an encoder by a loss between views of the same images, seen through a projector that is dropped afterwards.

    The first view is the batch's image, the others its modalities `view_2`, `view_3`, ... (`data.views`). Views of one size are embedded
    in one pass. A checkpoint is that of a backbone with a head, for `StartFrom`, `probe`, teachers, sources and exports.

    Where there are labels, a linear probe learns from the first view's detached embedding, in training alongside: the encoder is to the
    bit the one without it. Validation and test measure this probe (`val/accuracy`, `val/loss`), validation also the vote of the nearest
    neighbours among the epoch's last training embeddings (`val/knn_accuracy`). Logged in training are the loss (`contrastive`), the
    probe's loss and accuracy, the teacher's `momentum`, and what tells a collapse: `feature_std` and `projection_std`, near 1 where
    embeddings or projections lie in all directions and 0 where all are alike; `effective_rank` of the epoch's last embeddings; and,
    for a loss that has such a value, `loss_over_uniform`, 1 where all answers are alike.

    Args:
        backbone: as for `FinetuneModule`.
        loss: from `losses.pair`; `NTXent` if not given.
        num_classes: K, of the labels that the probe learns; 1, where there is nothing to tell apart, has no probe.
        projector: makes what turns the backbone's embedding into what the loss compares; `MLPProjector` if not given.
        predictor: makes what comes behind the projector of the student alone, of the same width.
        momentum: weight of the teacher's old parameters against the student's after each step, in [0, 1]; 1 leaves it as it is, 0 copies
            the student. Without one there is no teacher.
        final_momentum: what the momentum has come to at the end of the training, along half a cosine; if not given it stays.
        probe: whether a linear probe learns alongside.
        neighbours: k of the vote, ≥ 1.
        bank: embeddings that vote, at most, ≥ 1, over all processes.
        optim: optimiser, schedule and groups, `head` being the probe; AdamW at 0.001 with warm-up and cosine if not given.
        edits: applied to backbone and probe in turn, before training.
        class_names: K names.
        image_size: side of the images in pixels.
        metrics: of the probe; the usual ones for classification if not given.
        channels_last: whether images and weights are laid out with channels last in memory.
        compile: whether backbone and probe are compiled by `torch.compile`; the teacher is not.

    Raises:
        ValueError: for a loss without what it needs, or values out of range; when a training begins also for data that lacks views or
            labels.

    Example:
        >>> from lightning_transfer import TimmBackbone
        >>> module = ContrastiveModule(TimmBackbone("test_resnet", pretrained=False), num_classes=10)
        >>> module(torch.rand(2, 3, 64, 64)).logits.shape
        torch.Size([2, 10])
    """

    model: ProbedEncoder

    def __init__(
        self,
        backbone: nn.Module | str,
        loss: ViewLoss | None = None,
        num_classes: int = 1,
        projector: ProjectorFactory | None = None,
        predictor: ProjectorFactory | None = None,
        momentum: float | None = None,
        final_momentum: float | None = None,
        probe: bool = True,
        neighbours: int = 20,
        bank: int = 4096,
        optim: Optim | None = None,
        edits: list[ModelEdit] | None = None,
        class_names: list[str] | None = None,
        image_size: int | None = None,
        metrics: MetricCollection | None = None,
        channels_last: bool = True,
        compile: bool = False,  # noqa: A002  # torch's own word
    ) -> None:
        compared = metrics or (
            usual_metrics(num_classes, "classification") if num_classes > 1 else MetricCollection([])
        )
        super().__init__(
            num_classes,
            class_names,
            image_size,
            "classification",
            optim or Optim(partial(AdamW, lr=1e-3)),
            compared,
            channels_last,
            compile,
        )
        loss = loss or NTXent()
        _check_fit(loss, predictor, momentum, final_momentum)
        encoder = as_backbone(backbone, image_size)
        # no default in the signature: another class would inherit the values of its arguments from the command line
        self.projector = (projector or MLPProjector)(encoder.num_features)
        self.predictor = predictor(_width(self.projector)) if predictor else None
        if self.predictor and _width(self.predictor) != _width(self.projector):
            raise ValueError(
                f"the predictor has out_features={_width(self.predictor)}, the projector {_width(self.projector)}: the one predicts the "
                "other; give both the same"
            )
        self.probed = probe and num_classes > 1
        with isolate_rng():  # what else is drawn does not depend on the probe
            self.model = ProbedEncoder(encoder, LinearHead if self.probed else nn.Identity, num_classes)
        for edit in edits or ():
            edit(self.model)
        self.loss = loss
        loss.build(_width(self.projector))
        self.momentum, self.final_momentum = momentum, final_momentum if final_momentum is not None else momentum
        self.teacher = self._new_teacher() if momentum is not None else None
        self._recent = RecentNeighbours(
            neighbours, bank
        )  # of this epoch alone, so that a resumed training measures the same
        self._voters: KnnHead | None = None
        self._ddp_params_and_buffers_to_ignore = [f"loss.{name}" for name in loss.identical_buffers]
        self.train(self.training)

    def _new_teacher(self) -> nn.ModuleDict:
        student = {"backbone": self.model.backbone, "projector": self.projector}
        return nn.ModuleDict(deepcopy(student)).requires_grad_(False)

    def learners(self) -> nn.Module:
        parts = {"backbone": self.model.backbone, "head": self.model.head, "projector": self.projector}
        return nn.ModuleDict(parts | ({"predictor": self.predictor} if self.predictor else {}))

    def complete(self) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if getattr(data, "task", self.task) != self.task:
            raise ValueError(f"labels are of classes here, but the data's task is {data.task}")  # type: ignore[union-attr]
        if self.loss.needs_target and not getattr(data, "views", True):
            counts = data.class_counts.tolist()  # type: ignore[union-attr]
            if 1 in counts:
                name = data.class_names[counts.index(1)]  # type: ignore[union-attr]
                raise ValueError(
                    f"class {name!r} has one training image, which with one view has no positive for {type(self.loss).__name__}; set "
                    "data.views=2, or leave the class out"
                )

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.teacher is not None:
            self.teacher.to(memory_format=self.memory_format)

    def step(self, batch: ImageBatch) -> StepOutput:
        return self._train_step(batch) if self.training else self._examine(batch)

    def _train_step(self, batch: ImageBatch) -> StepOutput:
        views = self._views(batch)
        seen = _chosen(views, self.loss.student_views)
        predictions = [self(torch.cat(group)) for group in _alike(seen)]
        embeddings = [p.features.embedding for p in predictions]
        projections = [self.projector(embedding) for embedding in embeddings]
        student = [self.predictor(z) for z in projections] if self.predictor else projections
        count = len(batch.image)
        with torch.autocast(self.device.type, enabled=False):  # losses compute in single precision
            loss = self.loss(_by_view(student, count), self._taught(views), batch.target)
        first = embeddings[0][:count].detach()
        self._recent.add(first, batch.target)
        terms = self._terms(loss.detach(), first, projections[0][:count].detach())
        if not self.probed:
            return StepOutput(loss, terms)
        probe, more = self._probe(predictions[0].logits[:count], batch.target)
        return StepOutput(loss + probe, terms | more)

    def _views(self, batch: ImageBatch) -> list[Tensor]:
        names = [name for name in batch.modalities if name.startswith("view_")]
        views = [batch.image, *(batch.modalities[f"view_{i}"] for i in range(2, len(names) + 2))]
        least, most = self.loss.least_views, self.loss.most_views
        if not least <= len(views) <= (most or len(views)):
            wanted = f"{least} views" if least == most else f"{least} views or more"
            raise ValueError(
                f"{type(self.loss).__name__} compares {wanted} of an image, and the data gives {len(views)}; set data.views={least}"
            )
        return [view.contiguous(memory_format=self.memory_format) for view in views]

    @torch.no_grad()
    def _taught(self, views: list[Tensor]) -> list[Tensor]:
        """What the teacher makes of the views that are as large as the first."""
        if self.teacher is None:
            return []
        large = [view for view in views if view.shape == views[0].shape]
        found: list[Tensor] = []
        for group in _alike(_chosen(large, self.loss.teacher_views)):
            projected = self.teacher["projector"](self.teacher["backbone"](torch.cat(group)).embedding)
            found += projected.chunk(len(group))
        return found

    def _probe(self, logits: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        known = target >= 0
        # a sum, which is 0 with a gradient of 0 where no label is known
        loss = cross_entropy(logits.float(), target, ignore_index=-1, reduction="sum") / known.sum().clamp(min=1)
        accuracy = (logits.argmax(dim=1) == target)[known].float().mean() if known.any() else loss.new_zeros(())
        return loss, {"probe_loss": loss.detach(), "probe_accuracy": accuracy}

    def _terms(self, loss: Tensor, embedding: Tensor, projection: Tensor) -> dict[str, Tensor]:
        terms = {
            "contrastive": loss,
            "feature_std": relative_deviation(embedding),
            "projection_std": relative_deviation(projection),
        }
        if (uniform := self.loss.uniform()) is not None:
            terms["loss_over_uniform"] = loss / uniform
        if self.teacher is not None:
            terms["momentum"] = loss.new_tensor(self.current_momentum())
        return terms

    def _examine(self, batch: ImageBatch) -> StepOutput:
        prediction = self(batch.image)
        terms = {}
        if self._voters is not None:
            votes = self._voters(prediction.features.embedding.float()).argmax(dim=1)
            terms["knn_accuracy"] = (votes == batch.target).float().mean()
        loss = cross_entropy(prediction.logits.float(), batch.target)
        return StepOutput(loss, terms, prediction.logits, batch.target)

    def _evaluate(self, batch: ImageBatch, batch_idx: int, metrics: MetricCollection) -> None:
        known = batch.target >= 0
        if self.probed and known.any():
            super()._evaluate(batch._replace(image=batch.image[known], target=batch.target[known]), batch_idx, metrics)

    def on_train_epoch_start(self) -> None:
        self._recent.clear()

    def on_validation_epoch_start(self) -> None:
        self._voters = self._recent.voters(self.num_classes) if self.probed else None

    def on_validation_epoch_end(self) -> None:
        self._voters = None

    def on_train_epoch_end(self) -> None:
        if self._recent.batches:
            self.log("train/effective_rank", effective_rank(self._recent.embeddings()), sync_dist=True)

    def on_fit_end(self) -> None:
        self._recent.clear()

    def current_momentum(self) -> float:
        """Weight of the teacher's old parameters in the update after this step.

        Raises:
            ValueError: where it changes over a training that has no end.
        """
        start, end = float(self.momentum or 0), float(self.final_momentum or 0)
        if start == end or self._trainer is None:
            return start
        total = self.trainer.estimated_stepping_batches
        if total == float("inf"):
            raise ValueError(
                "final_momentum needs an end: set trainer.max_epochs or trainer.max_steps, or leave it out"
            )
        done = min(1.0, self.global_step / max(1, total))
        return end - (end - start) * 0.5 * (1 + math.cos(math.pi * done))

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.teacher is not None:
            self._follow(self.current_momentum())

    @torch.no_grad()
    def _follow(self, momentum: float) -> None:
        """Move the teacher's parameters towards the student's; its batch norms have statistics of their own."""
        student: list[Tensor] = [*self.model.backbone.parameters(), *self.projector.parameters()]
        teacher: list[Tensor] = [*self.teacher.parameters()]  # type: ignore[union-attr]
        torch._foreach_lerp_(teacher, student, 1 - momentum)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the probe by itself: in one norm with the encoder it would shorten the encoder's steps."""
        if not gradient_clip_val or gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        probe = {id(parameter) for parameter in self.model.head.parameters()}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for of_probe in (True, False):
            clip_grad_norm_([p for p in parameters if (id(p) in probe) == of_probe], gradient_clip_val)

    def _check(self, batch: ImageBatch) -> None:
        super()._check(batch)
        if not self.training:
            return
        for view in self._views(batch)[1:]:
            if view.shape != batch.image.shape:
                super()._check(batch._replace(image=view))
            check_range(view)
        if len(gathered(batch.target)[0]) < 2:
            raise ValueError("a batch of one image leaves nothing to be told apart; set data.batch_size to 2 or more")
        if self.loss.needs_target and batch.target.min() < 0:
            raise ValueError(
                f"some images have no label, which loss={type(self.loss).__name__} needs; leave them out, or take NTXent"
            )


def _alike(views: Sequence[Tensor]) -> list[list[Tensor]]:
    """Views in their order, those of one size together."""
    return [list(group) for _, group in groupby(views, key=lambda view: view.shape)]


def _by_view(parts: Iterable[Tensor], count: int) -> list[Tensor]:
    """Cut what was computed at once into views of `count` images."""
    return [view for part in parts for view in torch.split(part, count)]


def _chosen(views: Sequence[Tensor], numbers: Sequence[int] | None) -> list[Tensor]:
    return [*views] if numbers is None else [views[i] for i in numbers]


def _width(part: nn.Module) -> int:
    width = getattr(part, "out_features", None)
    if not isinstance(width, int):
        raise ValueError(f"{type(part).__name__} has no attribute out_features, the width of what it returns; set it")
    return width


def _check_fit(
    loss: ViewLoss,
    predictor: ProjectorFactory | None,
    momentum: float | None,
    final_momentum: float | None,
) -> None:
    """Refuse values out of range, and a loss that lacks what it needs."""
    name = type(loss).__name__
    for argument, value in (("momentum", momentum), ("final_momentum", final_momentum)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{argument}={value} must lie in [0, 1]: 1 leaves the teacher as it is, 0.99 is common")
    if final_momentum is not None and momentum is None:
        raise ValueError(f"final_momentum={final_momentum} is of a teacher, which momentum gives; set momentum=0.99")
    if loss.needs_teacher and momentum is None:
        raise ValueError(f"loss={name} compares with a teacher that follows the student; set momentum=0.99, or higher")
    if momentum is not None and not loss.needs_teacher:
        raise ValueError(f"momentum={momentum} makes a teacher, which loss={name} does not ask; leave it out")
    if loss.needs_predictor and predictor is None:
        raise ValueError(f"loss={name} needs a predictor behind the student's projector; set predictor=MLPProjector")
