"""Whether datamodules, which may differ in how they train, would show the same images of a split."""

import inspect
from collections.abc import Mapping
from typing import Any

from lightning_transfer.data.base import ImageData

_TRAINING = {  # arguments that change neither the images of a split nor how they are shown when a model is measured
    *("batch_size", "num_workers", "cache", "on_error", "train_transform", "predict_path", "test_sets", "corruptions"),
    *("augmentations", "same_class", "views", "view_modality"),
}
_FEWER = {"labels_per_class", "fraction"}  # these change the training split alone


def require_same_images(data: Mapping[str, ImageData], split: str) -> None:
    """Refuse datamodules that differ from the first in an argument that says which images a split has, or how they are prepared.

    Args:
        data: by the names of those who use them, at least one.
        split: which is to be looked at.

    Raises:
        ValueError: naming the first argument that differs.
    """
    described = {whose: _description(one, split) for whose, one in data.items()}
    first = next(iter(described))
    for whose, found in described.items():
        for key in described[first] | found:
            one, other = described[first].get(key), found.get(key)
            if one != other:
                raise ValueError(
                    f"{first} was trained on data with {key}={one!r}, {whose} with {key}={other!r}; "
                    "say what to measure both on: --data FolderData --data.root FOLDER"
                )


def _description(data: ImageData, split: str) -> dict[str, Any]:
    found = {
        "class": type(data).__name__,
        **_defaults(type(data)),
        **data.init_args,
        # made by a class, or a class with some arguments: what they make can be compared
        "eval_transform": str(data.eval_transform(data.image_size)),
    }
    ignored = _TRAINING if split == "train" else _TRAINING | _FEWER
    return {key: value for key, value in found.items() if key not in ignored}


def _defaults(cls: type) -> dict[str, Any]:
    """Of all arguments, also those that are passed on to a base class."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__[: cls.__mro__.index(ImageData) + 1]):
        parameters = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
        found |= {p.name: p.default for p in parameters if p.default is not p.empty}
    return found
