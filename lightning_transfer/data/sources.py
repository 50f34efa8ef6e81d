"""Sources: where the images of a split come from, with their targets and names."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_transfer.data.images import SUFFIXES, decode, image_files, to_tensor


class ImageSource(ABC):
    """A numbered collection of images.

    Attributes:
        targets: (N,) int64, or (N, K) float for several labels an image or for numbers.
        names: N, for messages and predictions.
        groups: N, or none; images of one group are near-copies and stay on one side of every split.
        others: the same samples in other modalities, by name: sources that are numbered like this one.
        captions: N, or none; what is said of each image.
    """

    targets: Tensor
    names: Sequence[str]
    groups: Sequence[str] | None = None
    others: Mapping[str, "ImageSource"] = {}  # never written to
    captions: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def image(self, index: int) -> Tensor:
        """Return image `index` as uint8 (3, H, W)."""

    def subset(self, indices: Tensor) -> "ImageSource":
        """Those numbered so, (N,), in this order."""
        return Subset(self, indices)

    def version(self, index: int) -> bytes:
        """What changes when image `index` does: its pixels, or whatever tells sooner."""
        image = self.image(index)
        return repr(tuple(image.shape)).encode() + image.contiguous().numpy().tobytes()


class FileSource(ImageSource):
    """Image files.

    Args:
        paths: N files.
        targets: as for `ImageSource`; -1 for all if not given.
        groups: as for `ImageSource`.
    """

    def __init__(
        self, paths: Sequence[Path], targets: Tensor | None = None, groups: Sequence[str] | None = None
    ) -> None:
        self.names = [str(path) for path in paths]
        self.targets = torch.full((len(paths),), -1) if targets is None else targets
        self.groups = groups

    def image(self, index: int) -> Tensor:
        return decode(self.names[index])

    def version(self, index: int) -> bytes:
        try:
            found = Path(self.names[index]).stat()
        except FileNotFoundError:  # whoever reads the image says so
            return b"missing"
        return f"{found.st_size} {found.st_mtime_ns}".encode()


class ArraySource(ImageSource):
    """Images that are in memory already.

    Args:
        images: uint8 (N, 3, H, W) or (N, 1, H, W).
        targets: (N,).
        set_name: prefix of the images' names.
        groups: as for `ImageSource`.
    """

    def __init__(self, images: Tensor, targets: Tensor, set_name: str, groups: Sequence[str] | None = None) -> None:
        self.images = images
        self.targets = targets
        self.names = [f"{set_name}/{i}" for i in range(len(images))]
        self.groups = groups

    def image(self, index: int) -> Tensor:
        return self.images[index].expand(3, -1, -1)


class DatasetSource(ImageSource):
    """A dataset of torchvision's kind, whose items are (Pillow image, class number).

    Args:
        dataset: the dataset.
        targets: (N,) class numbers.
        set_name: prefix of the images' names.
    """

    def __init__(self, dataset: Any, targets: Tensor, set_name: str) -> None:
        self.dataset = dataset
        self.targets = targets
        self.names = [f"{set_name}/{i}" for i in range(len(targets))]

    def image(self, index: int) -> Tensor:
        try:
            return to_tensor(self.dataset[index][0])
        except (OSError, ValueError, SyntaxError) as error:
            raise ValueError(f"{self.names[index]} cannot be read as an image: {error}") from error


class Subset(ImageSource):
    """Some images of a source.

    Args:
        source: the whole.
        indices: which, (N,).
    """

    def __init__(self, source: ImageSource, indices: Tensor) -> None:
        self.source = source
        self.indices = indices.tolist()
        self.targets = source.targets[indices]
        self.names = [source.names[i] for i in self.indices]
        self.groups = None if source.groups is None else [source.groups[i] for i in self.indices]
        self.captions = None if source.captions is None else [source.captions[i] for i in self.indices]
        self.others = {name: Subset(other, indices) for name, other in source.others.items()}

    def image(self, index: int) -> Tensor:
        return self.source.image(self.indices[index])

    def version(self, index: int) -> bytes:
        return self.source.version(self.indices[index])


class Joined(ImageSource):
    """Sources one after the other.

    Args:
        sources: at least one; all or none with groups and with captions, and all with the same other modalities.
    """

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        self.targets = torch.cat([s.targets for s in sources])
        self.names = [name for s in sources for name in s.names]
        self.groups = [g for s in sources for g in s.groups or ()] or None
        self.captions = [c for s in sources for c in s.captions or ()] or None
        self.others = {name: Joined([s.others[name] for s in sources]) for name in sources[0].others}
        self._where = [(s, i) for s in sources for i in range(len(s))]

    def image(self, index: int) -> Tensor:
        source, i = self._where[index]
        return source.image(i)

    def version(self, index: int) -> bytes:
        source, i = self._where[index]
        return source.version(i)


def unlabelled(path: Path, argument: str = "data.predict_path") -> FileSource:
    """Collect images without labels: all below a folder, or one file.

    Args:
        path: folder or file.
        argument: what the user calls it, for errors.

    Raises:
        FileNotFoundError: if there is neither a folder nor a file.
        ValueError: for a folder without images.
    """
    if path.is_file():
        return FileSource([path])
    if not path.is_dir():
        raise FileNotFoundError(f"{argument}={str(path)!r} is neither a folder nor a file")
    files = image_files(path)
    if not files:
        raise ValueError(f"{argument}={str(path)!r} holds no images ({', '.join(SUFFIXES)})")
    return FileSource(files)
