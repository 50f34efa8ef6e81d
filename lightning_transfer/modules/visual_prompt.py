"""Adaptation of the inputs: learned pixels in front of a frozen network, whose classes are mapped to new ones."""

from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torchmetrics import MetricCollection

from lightning_transfer.contracts import ImageBatch, StepOutput
from lightning_transfer.losses.supervised import CrossEntropy, SupervisedLoss
from lightning_transfer.mappings import LabelMapping
from lightning_transfer.metrics import usual_metrics
from lightning_transfer.models import CheckpointSource, PromptedModel, as_source
from lightning_transfer.models.prompted import SOURCE_LOGITS
from lightning_transfer.modules.base import TransferModule
from lightning_transfer.optim import SPSA, Optim
from lightning_transfer.parts import describe
from lightning_transfer.prompts import PixelPrompt


class VisualPromptModule(TransferModule):
    """Learn pixels that make a pretrained network, of which nothing changes, tell new classes by its own.

    Gradients pass through the whole source: what a prompt saves is storage (`AdapterCheckpoint` writes prompt and mapping alone), not
    training time or memory. In each training step the mapping observes what the source says; one that learns by it brings `RemapLabels`
    along.

    Args:
        source: a timm name, a checkpoint of this package (`.ckpt`), a `SourceModel`, or any module with `num_classes` that maps
            (B, C, H, W) in [0, 1] to logits (B, S).
        prompt: from `prompts`; none shows the source the images as they are.
        num_classes: K.
        mapping: from `mappings`: logits of the source's classes to those of the targets.
        optim: optimiser, schedule and groups of prompt and mapping; if not given Adam at 0.01 with warm-up and cosine.
        gradient: how the gradient is had without going through the source; by backpropagation if not given.
        loss: cross-entropy if not given.
        class_names: K names.
        image_size: side of the images in pixels, which the prompt is made for.
        metrics: the usual ones for classification if not given.
        channels_last: whether images and weights are laid out with channels last in memory.
        compile: whether the model is compiled by `torch.compile`.

    Raises:
        ValueError: for arguments that do not fit one another, a source that cannot be had, or nothing to be learned; in the first step
            for a prompt that has no gradient.

    Example:
        >>> from lightning_transfer.mappings import FirstMapping
        >>> from lightning_transfer.models import SourceModel
        >>> from lightning_transfer.prompts import PaddingPrompt
        >>> source = SourceModel("test_resnet", pretrained=False)
        >>> module = VisualPromptModule(source, PaddingPrompt(8), 10, FirstMapping(), image_size=64)
        >>> module(torch.rand(2, 3, 64, 64)).logits.shape
        torch.Size([2, 10])
    """

    model: PromptedModel
    adapted = ("model.prompt.", "model.mapping.")

    def __init__(
        self,
        source: nn.Module | str,
        prompt: PixelPrompt | None,
        num_classes: int,
        mapping: LabelMapping,
        optim: Optim | None = None,
        gradient: SPSA | None = None,
        loss: SupervisedLoss | None = None,
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
            optim or Optim(partial(Adam, lr=0.01)),
            metrics or usual_metrics(num_classes, "classification"),
            channels_last,
            compile,
        )
        self.loss = loss or CrossEntropy()
        if self.task not in self.loss.tasks:
            raise ValueError(f"loss={type(self.loss).__name__} is for {' and '.join(self.loss.tasks)}, not for classes")
        self.loss.set_num_classes(num_classes)
        known = as_source(source)
        known.name_targets(class_names)
        if prompt is not None:
            if image_size is None:
                raise ValueError("image_size must be given: a prompt is made for images of one size")
            prompt.build(image_size, known.statistics())
        if image_size is not None:
            known.set_image_size(image_size if prompt is None else prompt.output_size)
        mapping.build(known.num_classes, num_classes, known.class_names, class_names)
        self.model = PromptedModel(known, prompt, mapping)
        self.gradient = gradient
        self._proven = False  # whether the prompt was seen to have a gradient
        self.train_without_weights()
        if self._nothing is not None and gradient is not None:
            raise ValueError(
                "gradient=SPSA is for what is trained, but prompt=null and the mapping train nothing; leave it out"
            )
        self.train(self.training)

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def complete(self) -> None:
        self.model.freeze_source()
        task = getattr(getattr(self.trainer, "datamodule", None), "task", self.task)
        if task != self.task:
            raise ValueError(f"a prompt is trained for classes, but the data's task is {task}")
        if self._trained():
            return
        name = type(self.model.mapping).__name__
        if not self._counts():
            raise ValueError(
                f"prompt=null and mapping={name} leave nothing to be learned: `lightning-transfer test` measures them as they "
                "are; to train give a prompt, or a mapping that learns"
            )
        if self.trainer.world_size > 1:  # DDP refuses a model without gradients
            raise ValueError(
                f"without a prompt only {name} learns, by counting, which one process does: set trainer.devices=1"
            )
        rank_zero_info(f"without a prompt only {name} learns, by counting: one epoch is enough")

    def _counts(self) -> bool:
        """Whether the mapping learns from what it observes."""
        return type(self.model.mapping).refit is not LabelMapping.refit

    def configure_callbacks(self) -> list[Callback]:
        from lightning_transfer.callbacks import RemapLabels  # others of them know of modules

        return [RemapLabels()] if self._counts() else []

    def step(self, batch: ImageBatch) -> StepOutput:
        if self.training and self.gradient is not None:
            return self._step_without_backpropagation(batch, self.gradient)
        loss, logits, asked = self._ask(batch)
        if self.training:
            self._observe(asked, batch.target)
            if self._nothing is not None:
                loss = loss + 0 * self._nothing.to(loss.device)
        return StepOutput(loss, {}, logits, batch.target)

    def _ask(self, batch: ImageBatch) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, the targets' logits and the source's."""
        prediction = self(batch.image)
        return (
            self.loss(prediction.logits, batch.target),
            prediction.logits,
            prediction.features.layers[SOURCE_LOGITS],
        )

    def _step_without_backpropagation(self, batch: ImageBatch, gradient: SPSA) -> StepOutput:
        seen: list[Tensor] = []

        def loss() -> Tensor:
            value, _, asked = self._ask(batch)
            seen.append(asked)
            return value

        surrogate = gradient.surrogate(self._trained(), loss, self.global_step + 1)
        self._observe(torch.stack(seen).mean(dim=0), batch.target)  # the prompt itself lies in the middle of all these
        return StepOutput(surrogate, {})

    def _observe(self, asked: Tensor, target: Tensor) -> None:
        with torch.no_grad():
            self.model.mapping.observe(asked.detach(), target)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        prompt = self.model.prompt
        if self._proven or prompt is None:
            return
        if not any(parameter.grad is not None and parameter.grad.any() for parameter in prompt.parameters()):
            raise ValueError(
                f"the prompt cannot learn: its gradient is exactly zero everywhere; {self._reason(prompt)}"
            )
        self._proven = True

    @torch.no_grad()
    def _reason(self, prompt: PixelPrompt) -> str:
        noise = torch.rand(2, *prompt.origin.shape[:1], prompt.output_size, prompt.output_size).to(prompt.values)
        first, second = self.model.source(noise).logits
        if torch.equal(first, second):
            return (
                "the source says the same of all images, as one does whose classifier is zero because it was never trained; take other "
                "weights"
            )
        if prompt.clamp == "image":
            return (
                "clamp=image cuts all that the prompt adds; init=zeros starts within the image, clamp=none cuts nothing"
            )
        if prompt.clamp == "sigmoid":
            return "its values are so large that their sigmoid is flat; init=zeros starts in the middle"
        return "neither the mapping nor the loss depends on what the source says"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if isinstance(
            self.model.source, CheckpointSource
        ):  # it knows by now what is in its file, which is needed no more
            checkpoint["hyper_parameters"]["source"] = describe(self.model.source, "source")
