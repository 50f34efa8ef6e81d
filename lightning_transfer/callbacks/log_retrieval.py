"""A picture of what captions find after training and in the test."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_transfer.callbacks.end_picture import EndPicture
from lightning_transfer.callbacks.pictures import log_picture
from lightning_transfer.data.base import ImageData
from lightning_transfer.models import ImageTextModel
from lightning_transfer.reports.retrieval import draw_retrieval, nearest_images, some_of


class LogRetrieval(EndPicture):
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

    def has(self, data: Any, split: str) -> bool:
        return isinstance(data, ImageData) and split in data.sets

    def draw(self, trainer: Trainer, pl_module: Any, data: Any, split: str) -> None:
        prepared = data.sets[split]
        found: list[tuple[Tensor, ...]] = []
        captions: list[str] = []
        numbers: list[int] = []
        with torch.no_grad():
            for batch in data.numbered(prepared, range(min(self.among, len(prepared)))):
                moved = pl_module.transfer_batch_to_device(batch, pl_module.device, 0)
                found.append(tuple(part.cpu() for part in pl_module.encode(moved)))
                captions += batch.text
                numbers += batch.indices.tolist()
        image, text, group = (torch.cat(parts) for parts in zip(*found, strict=True))
        rows = nearest_images(image, text, group, captions, self.images)
        path = Path(trainer.default_root_dir) / f"retrieval_{split}.png"
        draw_retrieval(some_of(rows, self.captions), lambda i: prepared.source.image(numbers[i]), path)
        log_picture(trainer, "retrieval", path)
