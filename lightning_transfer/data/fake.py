"""Images made on the spot, for tests and trial runs."""

from typing import Any

import torch

from lightning_transfer.data.base import ImageData
from lightning_transfer.data.sources import ArraySource, ImageSource


class FakeData(ImageData):
    """Noise around one random pattern a class, so that something can be learned; captions name the class.

    Args:
        num_classes: K.
        images_per_class: images of each class, over all splits.
        pixels: side of the images before the transform.
        kwargs: as for `ImageData`.
    """

    def __init__(self, num_classes: int = 4, images_per_class: int = 16, pixels: int = 32, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = num_classes
        self.images_per_class = images_per_class
        self.pixels = pixels

    @property
    def class_names(self) -> list[str]:
        return [f"class {k}" for k in range(self.number)]

    def sources(self) -> dict[str, ImageSource]:
        generator = torch.Generator().manual_seed(0)
        targets = torch.arange(self.number).repeat(self.images_per_class)
        patterns = torch.randint(0, 192, (self.number, 3, 4, 4), generator=generator)
        patterns = patterns.repeat_interleave(-(-self.pixels // 4), 2).repeat_interleave(-(-self.pixels // 4), 3)
        noise = torch.randint(0, 64, (len(targets), 3, self.pixels, self.pixels), generator=generator)
        images = patterns[targets][:, :, : self.pixels, : self.pixels] + noise
        source = ArraySource(images.to(torch.uint8), targets, "fake")
        source.captions = [f"a picture of {self.class_names[k]}" for k in targets.tolist()]
        return {"train": source}
