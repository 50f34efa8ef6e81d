"""Training images as training sees them, the same ones whenever they are gone through."""

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data import ImageData


class CalibrationImages:
    """The first images of a training, in batches; more than there are come round again where the training transform draws at random.

    Args:
        data: brings training images.
        images: how many, at least 1; the last batch may go beyond.
        memory_format: in which they are laid out.

    Raises:
        ValueError: for a number below 1, or data without training split.
    """

    def __init__(
        self, data: ImageData, images: int = 1024, memory_format: torch.memory_format = torch.contiguous_format
    ) -> None:
        if images < 1:
            raise ValueError(f"images={images} must be at least 1; 1024 is common")
        data.prepare_data()
        if "train" not in data.splits():
            raise ValueError(f"{type(data).__name__} has no train split to take calibration images from")
        with isolate_rng():  # the transform draws by the seed that torch has now, which no two processes share
            torch.manual_seed(0)
            data.setup("fit")
        self.data = data
        self.images = images
        self.memory_format = memory_format

    def __iter__(self) -> Iterator[Tensor]:
        return (batch.image for batch in self.batches())

    def batches(self) -> Iterator[ImageBatch]:
        """The images with all that belongs to them."""
        left, epoch = self.images, 0
        with isolate_rng():
            torch.manual_seed(0)
            loader: Any = self.data.train_dataloader()
            while left > 0:
                loader.batch_sampler.sampler.set_epoch(epoch)
                epoch += 1
                for batch in loader:
                    yield batch._replace(image=batch.image.contiguous(memory_format=self.memory_format))
                    left -= len(batch.image)
                    if left <= 0:
                        return
                if not self.data.train_set.is_random():
                    return
