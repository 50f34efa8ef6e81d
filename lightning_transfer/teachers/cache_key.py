"""What a teacher's answers depend on: they are read only where all of it is the same."""

import hashlib
from collections.abc import Mapping
from typing import Any

from lightning_transfer import hashes
from lightning_transfer.data.datasets import ImageDataset
from lightning_transfer.teachers.base import Teacher
from lightning_transfer.teachers.packing import Packing

_OTHER = {
    "teacher": "another teacher",
    "images": "other training images",
    "transform": "another train_transform",
}


def cache_key(teacher: Teacher, packing: Packing, images: ImageDataset, image_size: int) -> dict[str, Any]:
    """Describe teacher, images, their transform and what is kept.

    Args:
        teacher: whose answers are kept.
        packing: how.
        images: the training split.
        image_size: in pixels.

    Raises:
        FileNotFoundError, ValueError: for a teacher that cannot be had, or a random transform that draws without end.
    """
    random = images.is_random(companions=True)
    if random and images.augmentations is None:
        who = f"train_transform={type(images.transform).__name__}" if images.is_random() else "same_class"
        raise ValueError(
            f"{who} draws anew in each epoch, and no cache can hold all that; set "
            "data.augmentations, to 10 for example, for so many versions of each image"
        )
    return {
        "teacher": teacher.fingerprint(),
        "images": hashes.of_source(images.source),
        "transform": hashes.of_transform(images.transform),
        "image_size": image_size,
        "augmentations": images.augmentations if random else 1,
        "augmentation_seed": images.seed if random else None,
        "top_k": packing.top_k,
        "precision": packing.precision,
        "embedding": packing.embedding,
    }


def differences(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Say in words where a key is another than wanted."""
    return [
        _OTHER.get(name, f"{name}={held.get(name)} where it is {value} now")
        for name, value in wanted.items()
        if held.get(name) != value
    ]


def validation_key(data: Any) -> str:
    """Hash what a process's validation batches depend on.

    Args:
        data: datamodule, with its trainer.
    """
    source = data.splits().get("val")
    parts = [
        None if source is None else hashes.of_source(source),
        hashes.of_transform(data.eval_transform(data.image_size)),
        (data.image_size, data.batch_size, data.trainer.limit_val_batches),
        (data.trainer.global_rank, data.trainer.world_size),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
