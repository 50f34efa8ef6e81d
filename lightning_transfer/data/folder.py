"""Images in class folders."""

from pathlib import Path
from typing import Any

import torch

from lightning_transfer.data.base import ImageData
from lightning_transfer.data.images import image_files
from lightning_transfer.data.sources import FileSource, ImageSource

SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


class FolderData(ImageData):
    """`root/CLASS/...` or, with given splits, `root/train/CLASS/...` and `root/val`, `root/test` beside it.

    Args:
        root: the folder; images in deeper folders count for the class folder above them.
        kwargs: as for `ImageData`.

    Raises:
        FileNotFoundError: for a folder that does not exist.
        ValueError: for a folder without class folders, a class folder without images, or splits with different classes.
    """

    def __init__(self, root: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)

    def _split_folders(self) -> dict[str, Path]:
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"data.root={str(self.root)!r} is no folder; it should hold one folder of images for each class"
            )
        given = {s: self.root / n for s, names in SPLITS.items() for n in names if (self.root / n).is_dir()}
        others = sorted(set(_class_folders(self.root)) - {folder.name for folder in given.values()})
        if given and "train" not in given and others:
            raise ValueError(
                f"data.root={str(self.root)!r} holds {', '.join(f.name for f in given.values())} "
                f"beside {', '.join(others[:5])}: put the training classes into a folder named train, "
                "or give classes other names than splits"
            )
        return given or {"train": self.root}

    @property
    def class_names(self) -> list[str]:
        folder = next(iter(self._split_folders().values()))
        names = _class_folders(folder)
        if not names:
            raise ValueError(
                f"{folder} holds no folders; put the images of each class into a folder named like the class"
            )
        return names

    def sources(self) -> dict[str, ImageSource]:
        names = self.class_names
        sources: dict[str, ImageSource] = {}
        for split, folder in self._split_folders().items():
            if unknown := sorted(set(_class_folders(folder)) ^ set(names)):
                raise ValueError(
                    f"the splits in {self.root} do not hold the same classes: {folder.name} differs in {unknown[:5]}"
                )
            files = [image_files(folder / name) for name in names]
            if empty := [name for name, found in zip(names, files, strict=True) if not found]:
                raise ValueError(
                    f"class folder(s) without images in {folder}: {', '.join(empty[:5])}; fill or remove them"
                )
            targets = torch.tensor([k for k, found in enumerate(files) for _ in found])
            sources[split] = FileSource([path for found in files for path in found], targets)
        return sources


def _class_folders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
