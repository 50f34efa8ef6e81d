"""Nothing need be adapted: classes of a frozen image-text model are words; or little beside it, by an adapter."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torchmetrics import MetricCollection

from lightning_transfer.adapters import ImageTextAdapter, ZeroShot
from lightning_transfer.adapters.zero_shot import check_words
from lightning_transfer.contracts import ImageBatch, StepOutput
from lightning_transfer.data import ImageData
from lightning_transfer.losses.supervised import CrossEntropy, SupervisedLoss
from lightning_transfer.metrics import usual_metrics
from lightning_transfer.models.image_text_checkpoint import ImageTextCheckpoint, as_image_text
from lightning_transfer.models.zero_shot import ZeroShotModel
from lightning_transfer.modules.base import TransferModule
from lightning_transfer.optim import Optim
from lightning_transfer.parts import describe
from lightning_transfer.templates import read_templates


class ZeroShotModule(TransferModule):
    """Classify images by what their classes are called, with an image-text model of which nothing changes.

    Without an adapter there is nothing to train: `test` and `predict` need no `fit`. With one only the adapter learns.

    Args:
        image_text: an `ImageTextModel`, or the path of a checkpoint of one (`.ckpt`).
        num_classes: K, of the data.
        templates: the name of a list in `templates`, a text file, one template, or several, with `{}` for the class's name; `single`
            if not given. Each class is the mean over them.
        words: what to look for: any number of words, by which the predictions then go too, in the order of the data's classes where
            it has some; or the words for some of the classes by their names. The classes' names if not given.
        adapter: from `adapters`; none classifies by the words alone.
        optim: optimiser, schedule and groups of the adapter; if not given AdamW at 0.001 with warm-up and cosine.
        loss: cross-entropy if not given.
        class_names: K names.
        image_size: side of the images in pixels; transformers adapt their position embeddings to it.
        metrics: the usual ones for classification if not given.
        channels_last: whether images and weights are laid out with channels last in memory.
        compile: whether the model is compiled by `torch.compile`.

    Raises:
        ValueError: for an image-text model that is none, no words, two that are the same, templates without a place for them or with an
            adapter that reads none, or texts that are too long; before a training if there is nothing to be trained.
    """

    model: ZeroShotModel
    adapted = ("model.adapter.",)

    def __init__(
        self,
        image_text: nn.Module | str,
        num_classes: int | None = None,
        templates: list[str] | str | None = None,
        words: list[str] | dict[str, str] | None = None,
        adapter: ImageTextAdapter | None = None,
        optim: Optim | None = None,
        loss: SupervisedLoss | None = None,
        class_names: list[str] | None = None,
        image_size: int | None = None,
        metrics: MetricCollection | None = None,
        channels_last: bool = True,
        compile: bool = False,  # noqa: A002  # torch's own word
    ) -> None:
        names, spoken = _spoken(words, class_names)
        if num_classes and not isinstance(words, list) and num_classes != len(names):
            raise ValueError(f"num_classes={num_classes}, but there are {len(names)} names: {names[:5]}")
        super().__init__(
            len(names),
            names,
            image_size,
            "classification",
            optim or Optim(partial(AdamW, lr=1e-3)),
            metrics or usual_metrics(len(names), "classification"),
            channels_last,
            compile,
        )
        self.loss = loss or CrossEntropy()
        if self.task not in self.loss.tasks:
            raise ValueError(f"loss={type(self.loss).__name__} is for {' and '.join(self.loss.tasks)}, not for classes")
        self.loss.set_num_classes(len(names))
        adapter = adapter or ZeroShot()
        if templates is not None and not adapter.reads_templates:
            raise ValueError(
                f"templates={templates!r} are not read by {type(adapter).__name__}, which learns the words around the names; leave them out"
            )
        known = as_image_text(image_text)
        if image_size is not None:
            known.backbone.set_image_size(image_size)
        adapter.build(known, spoken, read_templates("single" if templates is None else templates))
        self.model = ZeroShotModel(known, adapter)
        self.train_without_weights()
        self.train(self.training)

    def setup(self, stage: str) -> None:
        data = getattr(self._trainer, "datamodule", None)
        known = getattr(data, "num_classes", self.num_classes)
        if stage != "predict" and known != self.num_classes:
            raise ValueError(
                f"the data has {known} classes, but there are words for {self.num_classes}: {(self.class_names or [])[:5]}; to test give "
                "one for each class, in the data's order, or leave words out"
            )
        super().setup(stage)

    def complete(self) -> None:
        self.model.freeze()
        if isinstance(self.model.adapter, ZeroShot):
            raise ValueError(
                "adapter=null leaves nothing to be learned: `lightning-transfer test` and `predict` need no training; to train give "
                "an adapter, CoOp for example"
            )
        task = getattr(self._datamodule(), "task", self.task)
        if task != self.task:
            raise ValueError(f"an adapter is trained for classes, but the data's task is {task}")
        if self._nothing is not None and self.trainer.world_size > 1:  # DDP refuses a model without gradients
            raise ValueError(
                f"adapter={type(self.model.adapter).__name__} trains no weights, and what it reads one process reads: set trainer.devices=1"
            )

    def _datamodule(self) -> ImageData | None:
        data = getattr(self.trainer, "datamodule", None)
        return data if isinstance(data, ImageData) else None

    def on_train_start(self) -> None:
        self.model.adapter.prepare(self.model.image_text, self._datamodule())

    def on_train_batch_end(self, outputs: Any, batch: ImageBatch, batch_idx: int) -> None:
        if self.trainer.is_last_batch:
            self.model.adapter.choose(self.model.image_text)

    def step(self, batch: ImageBatch) -> StepOutput:
        if self.training and self._nothing is not None:  # nothing that an answer would teach
            return StepOutput(0 * self._nothing.to(batch.image.device), {})
        logits = self(batch.image).logits
        return StepOutput(self.loss(logits, batch.target), {}, logits, batch.target)

    @torch.no_grad()
    def ask(self, image: Tensor, words: list[str], templates: list[str] | str = "single") -> Tensor:
        """Probabilities of any words for images, without anything that an adapter learned.

        Args:
            image: (B, 3, H, W) in [0, 1].
            words: N, at least one, all different.
            templates: as for the module.

        Returns:
            (B, N), of sum 1
        """
        check_words(words)
        texts = ZeroShot()
        texts.build(self.model.image_text, words, read_templates(templates))
        vectors = self.model.image_text.eval().encode_image(image.to(self.device))
        probability: Tensor = texts(vectors, self.model.image_text).softmax(dim=1)
        return probability

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if isinstance(self.model.image_text, ImageTextCheckpoint):  # it knows by now what is in its file
            checkpoint["hyper_parameters"]["image_text"] = describe(self.model.image_text, "image_text")


def _spoken(words: list[str] | dict[str, str] | None, class_names: list[str] | None) -> tuple[list[str], list[str]]:
    """Names of the classes, and the words by which the model is asked for them."""
    names = list(class_names or ())
    if isinstance(words, dict):
        if unknown := sorted(set(words) - set(names)):
            raise ValueError(f"words names {unknown[:5]}, but the classes are {names[:10]}")
        spoken = [words.get(name, name) for name in names]
    elif words is not None:
        names = spoken = list(words)
    else:
        spoken = names
    if not spoken:
        raise ValueError("there are no words to look for: give words, or data whose classes have names")
    if len(spoken) == 1:
        raise ValueError(f"words: {spoken[0]!r} alone leaves nothing to choose between; give another word beside it")
    check_words(spoken)
    return names, spoken
