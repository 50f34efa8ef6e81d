"""Pictures of a prompt while it is trained."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_transfer.callbacks.pictures import log_picture
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.models import PromptedModel
from lightning_transfer.parts import Part
from lightning_transfer.reports.prompts import draw_examples, draw_mapping, draw_prompt, mapping_matrix


class LogPrompt(Part, Callback):
    """Draws the prompt with its spectrum, images with it, and the label mapping's weights: `prompt.png`, `prompted.png`, `mapping.png`.

    They lie in the run's folder, and go to W&B and TensorBoard where one of these logs. They show the weights of the moment, at the end
    the last ones.

    Args:
        every_n_epochs: how often they are drawn before the end; only there if not given.
        num_images: how many images are shown with the prompt, the first of the validation split or else of a training batch.

    Raises:
        ValueError: for numbers below 1; before training for a module without prompt and mapping.
    """

    def __init__(self, every_n_epochs: int | None = None, num_images: int = 8) -> None:
        for name, value in (("every_n_epochs", every_n_epochs), ("num_images", num_images)):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} of LogPrompt must be at least 1")
        self.every_n_epochs = every_n_epochs
        self.num_images = num_images
        self.images: Tensor | None = None
        self._drawn_at: int | None = None  # optimiser step

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module.model, PromptedModel):
            raise ValueError(
                f"LogPrompt draws a VisualPromptModule; a {type(pl_module).__name__} has no prompt of pixels, leave LogPrompt out"
            )

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: ImageBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._keep(batch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ImageBatch, batch_idx: int
    ) -> None:
        self._keep(batch)

    def _keep(self, batch: ImageBatch) -> None:
        if self.images is None:
            self.images = batch.image[: self.num_images].cpu()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_epochs is not None and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero or self._drawn_at == trainer.global_step:
            return
        self._drawn_at = trainer.global_step
        model: PromptedModel = pl_module.model
        folder = Path(trainer.default_root_dir)
        training = model.training
        model.eval()  # a prompt whose place is drawn is shown where validation sees it
        try:
            if model.prompt is not None:
                draw_prompt(model.prompt, folder / "prompt.png")
                log_picture(trainer, "prompt", folder / "prompt.png")
            if model.prompt is not None and self.images is not None:
                draw_examples(model.prompt, self.images, folder / "prompted.png")
                log_picture(trainer, "prompt", folder / "prompted.png")
            weights = mapping_matrix(model.mapping, model.source.num_classes)
            draw_mapping(weights, pl_module.class_names, model.source.class_names, folder / "mapping.png")
            log_picture(trainer, "prompt", folder / "mapping.png")
        finally:
            model.train(training)
