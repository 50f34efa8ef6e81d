"""What a data loader iterates: transformed images with target, name, number, other modalities and caption, and their batches."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import to_dtype

from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data.modalities.base import InModality
from lightning_transfer.data.paired import Companion, check_geometry
from lightning_transfer.data.skip_log import SkipLog
from lightning_transfer.data.sources import ImageSource
from lightning_transfer.seeds import derived_seed, drawing_by

Item = tuple[Tensor, Tensor, str, int, dict[str, Tensor], str | None]
EMBEDDING = "embedding"  # the modality that stands in the place of images after `embed`


class ImageDataset(Dataset[Item | None]):
    """A source behind a transform.

    Args:
        source: images.
        transform: uint8 (3, H, W) to (C, size, size), uint8 or float in [0, 1].
        cache: whether decoded images stay in memory.
        log: where unreadable files are noted, and then left out of their batch; if not given they raise.
        seed: of the transform's draws, which then depend on it and on epoch and index alone; needed for random transforms.
        augmentations: how many different draws an image has, which the epochs take in turn; another in each epoch if not given.

    Where the transform ends in a modality, the picture goes along as modality `picture`.

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
        self.companions: Mapping[str, Companion] = {}
        self.picture_transform = transform.transform if isinstance(transform, InModality) else transform
        self.cache: dict[tuple[str | None, int], Tensor] | None = {} if cache else None
        self.embeddings: Tensor | None = None

    def __len__(self) -> int:
        return len(self.source)

    def accompany(self, companions: Mapping[str, Companion]) -> None:
        """Let other modalities of each sample go along, by name; without a seed always the same."""
        self.companions = companions
        if companions and self.seed is None:
            self.seed = 0

    @property
    def versions(self) -> int | None:
        """How many versions of each image there are over all epochs; none where each epoch has another."""
        if self.augmentations is not None:
            return self.augmentations
        return None if self.is_random() else 1

    def embed(self, embeddings: Tensor | None) -> None:
        """Give out what a frozen backbone makes of each image, as modality `embedding`, and no pixels; or pixels again.

        Args:
            embeddings: (V, N, D) of all versions that an image has, NaN for those that cannot be read; None for pixels.
        """
        self.embeddings = embeddings

    def __getitem__(self, number: int) -> Item | None:
        index = number % len(self)
        caption = None if self.source.captions is None else self.source.captions[index]
        if self.embeddings is not None:
            embedding = self.embeddings[number // len(self) % len(self.embeddings), index]
            if embedding[0].isnan():
                return None
            others = {EMBEDDING: embedding}
            return embedding[:0], self.source.targets[index], self.source.names[index], index, others, caption
        if self.augmentations is not None:
            number %= self.augmentations * len(self)
        try:
            pixels, others = self._read(number, index)
        except (ValueError, OSError) as error:
            if self.log is not None:
                self.log.add(str(error))
                return None
            raise ValueError(f"{error}; data.on_error=skip leaves such files out") from error
        image, modalities = self._transformed(pixels, others, number)
        return image, self.source.targets[index], self.source.names[index], index, modalities, caption

    def example(self) -> ImageBatch:
        """The first sample that can be read, as a batch."""
        items = (self[i] for i in range(len(self)))
        return collate([next((item for item in items if item is not None), None)])

    def is_random(self, companions: bool = False) -> bool:
        """Whether any of a few images comes out otherwise in any of seven further draws.

        Args:
            companions: whether its other modalities count too.
        """
        count = len(self)
        for index in range(0, count, max(1, count // 8)):
            try:
                first, *others = (self._drawn(index + draw * count, companions) for draw in range(8))
            except (ValueError, OSError):  # whoever needs the image says so
                continue
            if not all(torch.equal(one, other) for found in others for one, other in zip(first, found, strict=True)):
                return True
        return False

    def _drawn(self, number: int, companions: bool) -> list[Tensor]:
        index = number % len(self)
        pixels, others = self._read(number, index) if companions else (self._pixels(index), {})
        image, modalities = self._transformed(pixels, others, number)
        return [image, *modalities.values()]

    def _read(self, number: int, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Pixels of a sample and of its companions."""
        pixels, others = self._pixels(index), {}
        for name, companion in self.companions.items():
            with self._drawing(number, companion.draw):
                row = companion.row(index)
            others[name] = self._pixels(row, name)
            if companion.transform is self.picture_transform:
                check_geometry(pixels, others[name], name)
        return pixels, others

    def _transformed(self, pixels: Tensor, others: dict[str, Tensor], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """What the model sees of a sample, and its other modalities."""
        modalities = {}
        with self._drawing(number):
            if isinstance(self.transform, InModality):
                image, modalities["picture"] = self.transform.both(pixels)
            else:
                image = self.transform(pixels)
        for name, other in others.items():
            companion = self.companions[name]
            with self._drawing(number, companion.draw):  # what the transform drew above, it draws again, but for a view
                modalities[name] = companion.transform(other)
        return _as_float(image), {name: _as_float(other) for name, other in modalities.items()}

    def _drawing(self, number: int, draw: int = 0) -> AbstractContextManager[None]:
        if self.seed is None:
            return nullcontext()
        return drawing_by(derived_seed(self.seed, number, draw) if draw else derived_seed(self.seed, number))

    def _pixels(self, index: int, name: str | None = None) -> Tensor:
        source = self.source if name is None else self.companions[name].source
        if source is self.source:  # a view of the image itself
            name = None
        if self.cache is None:
            return source.image(index)
        if (name, index) not in self.cache:
            self.cache[name, index] = source.image(index)
        return self.cache[name, index]


def _as_float(image: Tensor) -> Tensor:
    floats: Tensor = image if image.is_floating_point() else to_dtype(image, torch.float32, scale=True)
    return floats


def collate(items: Sequence[Item | None]) -> ImageBatch:
    """Stack items to a batch; those that could not be read are left out.

    Raises:
        ValueError: if none is left.
    """
    read = [item for item in items if item is not None]
    if not read:
        raise ValueError(f"none of the {len(items)} images of a batch could be read; are these image files?")
    images, targets, names, numbers, others, captions = zip(*read, strict=True)
    modalities = {name: torch.stack([other[name] for other in others]) for name in others[0]}
    return ImageBatch(
        torch.stack(images),
        torch.stack(targets),
        list(names),
        torch.tensor(numbers),
        modalities,
        () if None in captions else list(captions),
    )
