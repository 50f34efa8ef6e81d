"""What a data loader iterates: transformed images with target, name and number, and their batches."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import to_dtype

from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data.skip_log import SkipLog
from lightning_transfer.data.sources import ImageSource
from lightning_transfer.seeds import derived_seed

Item = tuple[Tensor, Tensor, str, int]


class ImageDataset(Dataset[Item | None]):
    """A source behind a transform.

    Args:
        source: images.
        transform: uint8 (3, H, W) to (C, size, size), uint8 or float in [0, 1].
        cache: whether decoded images stay in memory.
        log: where unreadable files are noted, and then left out of their batch; if not given they raise.
        seed: of the transform's draws, which then depend on it and on epoch and index alone; needed for random transforms.

    Item `epoch x N + index` is image `index` as transformed in that epoch.
    """

    def __init__(
        self,
        source: ImageSource,
        transform: nn.Module,
        cache: bool = False,
        log: SkipLog | None = None,
        seed: int | None = None,
    ) -> None:
        self.source = source
        self.transform = transform
        self.log = log
        self.seed = seed
        self.cache: dict[int, Tensor] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> Item | None:
        index = number % len(self)
        try:
            pixels = self._pixels(index)
        except (ValueError, OSError) as error:
            if self.log is not None:
                self.log.add(str(error))
                return None
            raise ValueError(f"{error}; data.on_error=skip leaves such files out") from error
        if self.seed is not None:
            with _drawing_by(derived_seed(self.seed, number)):
                image = self.transform(pixels)
        else:
            image = self.transform(pixels)
        if not image.is_floating_point():
            image = to_dtype(image, torch.float32, scale=True)
        return image, self.source.targets[index], self.source.names[index], index

    def _pixels(self, index: int) -> Tensor:
        if self.cache is None:
            return self.source.image(index)
        if index not in self.cache:
            self.cache[index] = self.source.image(index)
        return self.cache[index]


@contextmanager
def _drawing_by(seed: int) -> Iterator[None]:
    """Seed the CPU's generator for a while; `torch.manual_seed` would seed those of all devices."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


def collate(items: Sequence[Item | None]) -> ImageBatch:
    """Stack items to a batch; those that could not be read are left out.

    Raises:
        ValueError: if none is left.
    """
    read = [item for item in items if item is not None]
    if not read:
        raise ValueError(f"none of the {len(items)} images of a batch could be read; are these image files?")
    images, targets, names, numbers = zip(*read, strict=True)
    return ImageBatch(torch.stack(images), torch.stack(targets), list(names), torch.tensor(numbers))
