"""What a data loader iterates: transformed images with target, name and number, and their batches."""

import os
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import to_dtype

from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data.sources import ImageSource
from lightning_transfer.seeds import derived_seed, drawing_by

Item = tuple[Tensor, Tensor, str, int]


class SkipLog:
    """A file to which all worker processes append what they skipped; it goes when its maker is gone.

    Args:
        path: the file of another process's log; a new one in the temporary folder if not given.
    """

    def __init__(self, path: str | None = None) -> None:
        if path is None:
            handle, path = tempfile.mkstemp(prefix="skipped_images_", suffix=".txt")
            os.close(handle)
            weakref.finalize(self, _remove, path, os.getpid())
        self.path = path

    def add(self, reason: str) -> None:
        # one write to a file opened for appending is never torn by those of other processes
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, os.fsencode(" ".join(reason.split("\n")) + "\n"))
        os.close(handle)

    def read(self) -> list[str]:
        """Each reason once, in order."""
        return list(dict.fromkeys(os.fsdecode(Path(self.path).read_bytes()).split("\n")[:-1]))


def _remove(path: str, maker: int) -> None:
    if os.getpid() == maker:  # forked workers inherit the log, but not its file
        Path(path).unlink(missing_ok=True)


class ImageDataset(Dataset[Item | None]):
    """A source behind a transform.

    Args:
        source: images.
        transform: uint8 (3, H, W) to (C, size, size), uint8 or float in [0, 1].
        cache: whether decoded images stay in memory.
        log: where unreadable files are noted, and then left out of their batch; if not given they raise.
        seed: of the transform's draws, which then depend on it and on epoch and index alone; needed for random transforms.
        augmentations: how many different draws an image has, which the epochs take in turn; another in each epoch if not given.

    Item `epoch x N + index` is image `index` as transformed in that epoch.
    """

    def __init__(
        self,
        source: ImageSource,
        transform: nn.Module,
        cache: bool = False,
        log: SkipLog | None = None,
        seed: int | None = None,
        augmentations: int | None = None,
    ) -> None:
        self.source = source
        self.transform = transform
        self.log = log
        self.seed = seed
        self.augmentations = augmentations
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
        if self.augmentations is not None:
            number %= self.augmentations * len(self)
        image = self._transformed(pixels, number)
        if not image.is_floating_point():
            image = to_dtype(image, torch.float32, scale=True)
        return image, self.source.targets[index], self.source.names[index], index

    def is_random(self) -> bool:
        """Whether the transform draws: whether any of a few images comes out otherwise in any of seven further draws."""
        count = len(self)
        for index in range(0, count, max(1, count // 8)):
            try:
                pixels = self._pixels(index)
            except (ValueError, OSError):  # whoever needs the image says so
                continue
            first, *others = (self._transformed(pixels, index + draw * count) for draw in range(8))
            if not all(torch.equal(first, other) for other in others):
                return True
        return False

    def _transformed(self, pixels: Tensor, number: int) -> Tensor:
        with drawing_by(derived_seed(self.seed, number)) if self.seed is not None else nullcontext():
            image: Tensor = self.transform(pixels)
        return image

    def _pixels(self, index: int) -> Tensor:
        if self.cache is None:
            return self.source.image(index)
        if index not in self.cache:
            self.cache[index] = self.source.image(index)
        return self.cache[index]


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
