"""Handwritten characters of fifty alphabets, twenty drawings of each."""

from typing import Any

import torch
from torch import Tensor
from torchvision.datasets import Omniglot

from lightning_transfer.data.base import ImageData
from lightning_transfer.data.index import data_root
from lightning_transfer.data.sources import DatasetSource, ImageSource


class OmniglotData(ImageData):
    """1,623 characters as classes: those of thirty alphabets (`images_background`) for training, of twenty others for the test.

    A classifier can tell the training's characters only; what the set is made for are the episodes of `EpisodeData`.

    Args:
        root: the folder of `omniglot-py`, as torchvision has it; the variable LIGHTNING_TRANSFER_DATA or `./data` if not given.
        download: whether torchvision may download it.
        kwargs: as for `ImageData`.

    Raises:
        FileNotFoundError: if the set is not there.

    Reference:
        Lake, Salakhutdinov, Tenenbaum, "Human-level concept learning through probabilistic program induction", Science 2015.
    """

    def __init__(self, root: str | None = None, download: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = data_root(root)
        self.download = download
        self._halves: tuple[Omniglot, Omniglot] | None = None

    def prepare_data(self) -> None:
        super().prepare_data()
        if self.download:
            self.halves()

    def halves(self) -> tuple[Omniglot, Omniglot]:
        """Training's and test's characters."""
        if self._halves is None:
            try:
                train, test = (Omniglot(self.root, background, download=self.download) for background in (True, False))
            except (RuntimeError, FileNotFoundError) as error:
                raise FileNotFoundError(
                    f"{self.root / 'omniglot-py'} does not hold Omniglot: {error} (data.download=true fetches it)"
                ) from error
            self._halves = train, test
        return self._halves

    @property
    def class_names(self) -> list[str]:
        return [name for half in self.halves() for name in half._characters]

    def sources(self) -> dict[str, ImageSource]:
        train, test = self.halves()
        return {
            "train": DatasetSource(train, _targets(train), "omniglot/train"),
            "test": DatasetSource(test, _targets(test) + len(train._characters), "omniglot/test"),
        }


def _targets(half: Omniglot) -> Tensor:
    """Class numbers without decoding an image."""
    return torch.tensor([k for _, k in half._flat_character_images])
