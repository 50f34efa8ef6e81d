"""What is asked of episodes and of the data that they are drawn from, before anything runs."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_transfer.data.episode_sampling import Count, EpisodeShape, Pool
from lightning_transfer.data.sources import ImageSource

if TYPE_CHECKING:
    from lightning_transfer.data.base import ImageData

SIDES = {"train": "base", "val": "validation", "test": "novel"}  # what users call the classes of a split
_WITHOUT_MEANING = {
    "labels_per_class": "episodes have few labels by `shots`",
    "fraction": "episodes are drawn from all images",
    "predict_path": "the episodes' own predict_path is beside support_path",
    "test_sets": "each set of episodes is tested by itself",
    "corruptions": "episodes are tested as they are",
    "same_class": "modalities of the sample itself do, by support_from and query_from",
    "view_modality": "episodes show each image once",
}


def check_wrapped(data: "ImageData") -> None:
    """Refuse data whose images have several labels or none, and arguments of it that episodes would not heed.

    Raises:
        ValueError: naming the argument.
    """
    if data.task != "classification":
        raise ValueError(
            f"episodes are of classes, but data={type(data).__name__} has task={data.task}; give data with one class an image"
        )
    for name, reason in _WITHOUT_MEANING.items():
        if data.init_args.get(name):
            raise ValueError(f"data.{name}={data.init_args[name]!r} does nothing for episodes: {reason}; leave it out")
    if data.init_args.get("views", 1) != 1:
        raise ValueError("data.views does nothing for episodes, which show each image once; leave it out")
    if data.on_error == "skip":
        raise ValueError(
            "data.on_error=skip would leave gaps in episodes, which have a fixed number of images; remove the unreadable files"
        )


def at_least_one(name: str, value: int) -> int:
    """Refuse a number below 1."""
    if value < 1:
        raise ValueError(f"{name}={value} must be at least 1")
    return value


def check_modality(argument: str, modality: str | None, source: ImageSource, data: "ImageData") -> None:
    """Refuse a modality that the samples do not have, or that is another kind of picture than the image.

    Raises:
        ValueError: naming the argument, and what there is.
    """
    if modality is None:
        return
    if modality not in source.others:
        raise ValueError(
            f"{argument}={modality!r} is no modality of the data, which has {', '.join(source.others) or 'none'}; "
            "EmojiData has one with data.beside=twitter"
        )
    if data.transform_of(modality) is not None:
        raise ValueError(
            f"{argument}={modality!r} is prepared otherwise than the image; episodes compare pictures of one kind"
        )


def check_shape(shape: EpisodeShape, stage: str, batch_size: int) -> EpisodeShape:
    """Refuse counts that are out of range.

    Args:
        shape: of the episodes.
        stage: what to put before an argument's name, `train_` for example.
        batch_size: episodes at once, which must be of one shape.

    Raises:
        ValueError: naming the argument and what would do.
    """
    _check_count(f"{stage}ways", shape.ways, 2)
    _check_count(f"{stage}shots", shape.shots, 1)
    _check_count(f"{stage}queries", shape.queries, 1)
    if shape.imbalance is not None and not 0 < shape.imbalance < math.inf:
        raise ValueError(
            f"imbalance={shape.imbalance} must be above 0 and finite: the smaller, the less even; 2 is common"
        )
    if not shape.is_fixed() and batch_size > 1:
        raise ValueError(
            f"{stage}ways={shape.ways} and {stage}shots={shape.shots} give episodes of several shapes, which cannot be stacked to "
            f"batch_size={batch_size}; set batch_size=1"
        )
    return shape


def _check_count(name: str, count: Count, least: int) -> None:
    low, high = (count, count) if isinstance(count, int) else count
    if low < least:
        raise ValueError(f"{name}={count} must be at least {least}")
    if high < low:
        raise ValueError(f"{name}={count} goes from the least to the greatest; exchange the two")


def check_pool(pool: Pool, shape: EpisodeShape, names: Sequence[str], split: str) -> None:
    """Refuse a side of the classes that has too few, or a class with too few images.

    Args:
        pool: of the side.
        shape: of the episodes.
        names: of the side's classes.
        split: train, val or test.

    Raises:
        ValueError: naming the side or the class, and what would do.
    """
    ways = shape.ways if isinstance(shape.ways, int) else shape.ways[1]
    shots = shape.shots if isinstance(shape.shots, int) else shape.shots[0]
    classes = len(pool.support) // pool.turns
    if classes < ways:
        raise ValueError(
            f"episodes of {ways} ways need as many {SIDES[split]} classes, but there are {classes}; lower ways, or divide the classes "
            "otherwise by val_classes and novel_classes"
        )
    for k in range(classes):
        if pool.most_shots(k, shape.queries) < shots:
            raise ValueError(_too_few(pool, k, shots, shape.queries, names[k]))


def _too_few(pool: Pool, k: int, shots: int, queries: int, name: str) -> str:
    draws = f", each counted {pool.draws} times" if (pool.draws or 1) > 1 else ""
    wanted = f"{shots} shots and {queries} queries"
    if pool.query is not None:
        found, images = f"{len(pool.support[k])} images to be shown and {len(pool.query[k])} to be asked for", 2
    else:
        images = len(pool.support[k])
        found = f"{images} image{'s' * (images != 1)}"
    remedies = ["lower shots or queries", "leave the class out"]
    if images > 1:  # never the same image on both sides, be it in two draws
        remedies.append(
            "let a random transform count several times (data.augmentations in training, eval_augmentations elsewhere)"
        )
    else:
        remedies.append("take the queries from another modality by query_from")
    return f"class {name!r} has {found}{draws}, too few for {wanted}; {', or '.join(remedies)}"
