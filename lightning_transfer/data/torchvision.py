"""Classification sets of torchvision."""

import inspect
from typing import Any

import torch
from torch import Tensor

from lightning_transfer.checkpoint import import_class
from lightning_transfer.data.base import ImageData
from lightning_transfer.data.index import data_root
from lightning_transfer.data.sources import DatasetSource, ImageSource


class TorchvisionData(ImageData):
    """Any set whose class takes `root` and either `train` or `split`, as torchvision's do.

    Args:
        dataset: path of the class, `torchvision.datasets.MNIST` for example.
        root: folder of the set; the variable LIGHTNING_TRANSFER_DATA or `./data` if not given.
        download: whether torchvision may download it.
        options: further arguments of the class.
        kwargs: as for `ImageData`.

    Raises:
        FileNotFoundError: if the set is not there.
        ValueError: for a class that is no such set.
    """

    def __init__(
        self,
        dataset: str,
        root: str | None = None,
        download: bool = False,
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.root = data_root(root)
        self.download = download
        self.options = options or {}
        self._opened: dict[str, Any] = {}

    def prepare_data(self) -> None:
        super().prepare_data()
        if self.download:
            for split in ("train", "val", "test"):
                self._open(split)

    def _open(self, split: str) -> Any:
        """The torchvision dataset of a split, or none where the set has no such split."""
        if split in self._opened:
            return self._opened[split]
        cls = import_class(self.dataset)
        parameters = inspect.signature(cls).parameters
        options = dict(self.options)
        if "download" in parameters:
            options["download"] = self.download
        by_flag = "train" in parameters or "split" in options  # EMNIST: split is its alphabet, train a keyword
        if by_flag:
            if split == "val":
                return None
            options["train"] = split == "train"
        elif "split" not in parameters:
            raise ValueError(
                f"data.dataset={self.dataset!r} takes neither train nor split; use FolderData or CsvData for it"
            )
        refusal: ValueError | None = None
        for name in {"train": ("train", "trainval"), "val": ("val", "valid"), "test": ("test",)}[split]:
            try:
                self._opened[split] = cls(self.root, **(options if by_flag else {**options, "split": name}))
                return self._opened[split]
            except ValueError as error:  # so torchvision says that a set has no split of that name
                refusal = error
            except RuntimeError as error:
                raise FileNotFoundError(
                    f"{self.dataset} is not in {self.root}: {error} (data.download=true fetches it)"
                ) from error
        if split == "train":
            raise ValueError(f"{self.dataset} gives no training images: {refusal}") from refusal
        return None

    @property
    def class_names(self) -> list[str]:
        train = self._open("train")
        if classes := getattr(train, "classes", None):
            return [str(name) for name in classes]
        return [str(k) for k in range(int(_targets(train).max()) + 1)]

    def sources(self) -> dict[str, ImageSource]:
        name = self.dataset.rpartition(".")[2].lower()
        found = {split: self._open(split) for split in ("train", "val", "test")}
        return {s: DatasetSource(d, _targets(d), f"{name}/{s}") for s, d in found.items() if d is not None}


def _targets(dataset: Any) -> Tensor:
    """Class numbers without decoding an image, wherever the set keeps them."""
    for attribute in ("targets", "labels", "_labels", "y"):
        if (values := getattr(dataset, attribute, None)) is not None:
            return torch.as_tensor(values).long().flatten()
    if (samples := getattr(dataset, "_samples", getattr(dataset, "samples", None))) is not None:
        return torch.tensor([int(sample[1]) for sample in samples])
    return torch.tensor([int(dataset[i][1]) for i in range(len(dataset))])
