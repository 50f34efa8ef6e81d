"""Emoji as two vendors draw them: one concept, two styles."""

from collections import Counter
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_transfer.data.base import ImageData
from lightning_transfer.data.images import decode
from lightning_transfer.data.index import LABELS, data_root, read_index
from lightning_transfer.data.sources import ArraySource, ImageSource, Joined, Subset
from lightning_transfer.data.splits import stratified_split

_VENDORS = {"google": ("google",), "twitter": ("twitter",), "both": ("google", "twitter")}


class EmojiData(ImageData):
    """1,906 emoji of 64 pixels by two vendors; one concept is on one side of a split, whoever drew it. Its name is the caption.

    Args:
        root: folder made by `scripts/data/emoji.py`; `emoji` below LIGHTNING_TRANSFER_DATA or `./data` if not given.
        vendor: whose drawings to train and validate on.
        test_vendor: whose drawings to test on, of concepts held out; the same as `vendor` if not given.
        label: which column of its index is the label; with `concept` each emoji is a class of its own, named by its name, and all images
            are for training, so that only episodes hold some out.
        min_per_class: classes with fewer concepts are left out, unless each concept is a class.
        beside: whose drawing of the same concept goes along as modality of the vendor's name, in the same geometry; nobody's if not given.
        kwargs: as for `ImageData`.

    Raises:
        FileNotFoundError: if the folder is not there.
        ValueError: for another vendor or label, or if no class has enough concepts.
    """

    def __init__(
        self,
        root: str | None = None,
        vendor: Literal["google", "twitter", "both"] = "google",
        test_vendor: Literal["google", "twitter", "both"] | None = None,
        label: Literal["category", "subcategory", "concept"] = "category",
        min_per_class: int = 10,
        beside: Literal["google", "twitter"] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("vendor", vendor), ("test_vendor", test_vendor or vendor)):
            if value not in _VENDORS:
                raise ValueError(f"data.{name}={value!r} must be one of {', '.join(_VENDORS)}")
        if beside not in (None, "google", "twitter"):
            raise ValueError(f"data.beside={beside!r} must be google or twitter")
        if label == "concept" and test_vendor not in (None, vendor):
            raise ValueError(
                f"data.test_vendor={test_vendor!r} has no concepts of its own to test with data.label=concept; leave it out, and let "
                "episodes ask for the other vendor's drawings: data.beside and query_from"
            )
        self.root = data_root(root, "emoji")
        self.vendor, self.test_vendor, self.label = vendor, test_vendor or vendor, label
        self.min_per_class = min_per_class
        self.beside = beside

    def rows(self) -> list[dict[str, str]]:
        """Rows of the index whose class has enough concepts."""
        if self.label == "concept":
            return with_concepts(read_index(self.root, LABELS[0], 1))
        return read_index(self.root, self.label, self.min_per_class)

    @property
    def class_names(self) -> list[str]:
        return sorted({row[self.label] for row in self.rows()})

    def sources(self) -> dict[str, ImageSource]:
        rows, names = self.rows(), self.class_names
        targets = torch.tensor([names.index(row[self.label]) for row in rows])
        drawn = {v: self._drawings(v, rows, targets) for v in {*_VENDORS[self.vendor], *_VENDORS[self.test_vendor]}}
        if self.beside is not None:
            beside = self._drawings(self.beside, rows, targets)
            for source in drawn.values():
                source.others = {self.beside: beside}
        if self.label == "concept":
            return {"train": Joined([drawn[v] for v in _VENDORS[self.vendor]])}
        keep, out = stratified_split(targets, self.division.test_fraction, self.division.seed)
        train = Joined([Subset(drawn[v], keep) for v in _VENDORS[self.vendor]])
        return {"train": train, "test": Joined([Subset(drawn[v], out) for v in _VENDORS[self.test_vendor]])}

    def _drawings(self, vendor: str, rows: list[dict[str, str]], targets: Tensor) -> ImageSource:
        sheet = decode(self.root / f"{vendor}.png")
        boxes = [(int(r["left"]), int(r["top"]), int(r["size"])) for r in rows]
        images = torch.stack([sheet[:, top : top + size, left : left + size] for left, top, size in boxes])
        # one concept stays on one side of a split, but where each is a class its drawings are not alike
        groups = None if self.label == "concept" else [row["codepoint"] for row in rows]
        source = ArraySource(images, targets, f"emoji/{vendor}", groups)
        source.captions = [row["name"] for row in rows]
        return source


def with_concepts(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Give each row its name as `concept`, with the code points behind it where another has the same name."""
    names = Counter(row["name"] for row in rows)
    return [
        row | {"concept": row["name"] if names[row["name"]] == 1 else f"{row['name']} {row['codepoint']}"}
        for row in rows
    ]
