"""A picture of what captions find after training and in the test."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_transfer.callbacks.pictures import log_picture
from lightning_transfer.data.base import ImageData
from lightning_transfer.models import ImageTextModel
from lightning_transfer.parts import Part
from lightning_transfer.reports.retrieval import draw_retrieval, nearest_images, some_of


class LogRetrieval(Part, Callback):
    """Draws, for some captions, the images that each finds: `retrieval_val.png` after training, `retrieval_test.png` in the test.

    They lie in the run's folder, and go to W&B and TensorBoard where one of these logs. The captions are spread evenly over the split.

    Args:
        captions: rows of the picture, ≥ 1.
        images: of each, the nearest first, ≥ 1.
        among: how many of the split's images are searched, its first, ≥ 1.

    Raises:
        ValueError: for numbers below 1; before training for a module that reads no captions.
    """

    def __init__(self, captions: int = 8, images: int = 5, among: int = 5000) -> None:
        for name, value in (("captions", captions), ("images", images), ("among", among)):
            if value < 1:
                raise ValueError(f"{name}={value} of LogRetrieval must be at least 1")
        self.captions, self.images, self.among = captions, images, among

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module.model, ImageTextModel):
            raise ValueError(
                f"LogRetrieval draws what captions find; a {type(pl_module).__name__} reads none, leave LogRetrieval out"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module, "test")

    def _draw(self, trainer: Trainer, pl_module: Any, split: str) -> None:
        data = getattr(trainer, "datamodule", None)
        if not trainer.is_global_zero or not isinstance(data, ImageData) or split not in data.sets:
            return
        prepared = data.sets[split]
        found: list[tuple[Tensor, ...]] = []
        captions: list[str] = []
        numbers: list[int] = []
        training = pl_module.training
        pl_module.eval()
        try:
            with torch.no_grad():
                for batch in data.numbered(prepared, range(min(self.among, len(prepared)))):
                    moved = pl_module.transfer_batch_to_device(batch, pl_module.device, 0)
                    found.append(tuple(part.cpu() for part in pl_module.encode(moved)))
                    captions += batch.text
                    numbers += batch.indices.tolist()
        finally:
            pl_module.train(training)
        image, text, group = (torch.cat(parts) for parts in zip(*found, strict=True))
        rows = nearest_images(image, text, group, captions, self.images)
        path = Path(trainer.default_root_dir) / f"retrieval_{split}.png"
        draw_retrieval(some_of(rows, self.captions), lambda i: prepared.source.image(numbers[i]), path)
        log_picture(trainer, "retrieval", path)
