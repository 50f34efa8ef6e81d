"""From a checkpoint to what an export needs: the model with its preparation of images, and images to compare on."""

from pathlib import Path

import torch
from torch import Tensor

from lightning_transfer.data.base import ImageData
from lightning_transfer.data.sources import ImageSource, unlabelled
from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.modules import TransferModule


def open_checkpoint(
    ckpt_path: str, images: str | None = None, num_images: int = 32, data: ImageData | None = None
) -> tuple[Deployed, list[Tensor]]:
    """Load what is to be exported, and images to compare on.

    Args:
        ckpt_path: checkpoint written by `fit`.
        images: a folder of images, or one file; the data's test, validation or training images if not given.
        num_images: how many images are taken, evenly from all, at least 1.
        data: how images are prepared and where they are; as in the checkpoint if not given.

    Raises:
        ValueError, FileNotFoundError: saying what the checkpoint lacks, or why there are no images.
    """
    if num_images < 1:
        raise ValueError(f"num_images={num_images} must be at least 1")
    data = data or ImageData.load_from_checkpoint(ckpt_path)
    module = TransferModule.load_from_checkpoint(ckpt_path, map_location="cpu")
    model = Deployed(module, data.eval_transform(data.image_size))
    source = unlabelled(Path(images), "images") if images else _images_of(data)
    return model, _evenly(source, num_images)


def training_images(ckpt_path: str, number: int, data: ImageData | None = None) -> list[Tensor]:
    """Images of the training split, evenly from all.

    Args:
        ckpt_path: checkpoint that says where they are.
        number: how many at most.
        data: where they are instead.
    """
    source = (data or ImageData.load_from_checkpoint(ckpt_path)).splits()["train"]
    return _evenly(source, number)


def labelled_test_images(ckpt_path: str, number: int, data: ImageData | None = None) -> ImageSource | None:
    """Labelled images of the test split, evenly from all; none where there are none.

    Args:
        ckpt_path: checkpoint that says where they are.
        number: how many at most.
        data: where they are instead.
    """
    source = (data or ImageData.load_from_checkpoint(ckpt_path)).splits().get("test")
    if source is None:
        return None
    targets = source.targets
    known = (
        targets >= 0 if targets.ndim == 1 and not targets.is_floating_point() else torch.ones(len(targets))
    ).nonzero()
    return source.subset(known.flatten()[_even(len(known), number)])


def _even(length: int, number: int) -> Tensor:
    """Numbers of images, evenly from as many."""
    return torch.linspace(0, length - 1, min(number, length)).round().long()


def _evenly(source: ImageSource, number: int) -> list[Tensor]:
    return [source.image(i) for i in _even(len(source), number).tolist()]


def _images_of(data: ImageData) -> ImageSource:
    try:
        splits = data.splits()
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        raise FileNotFoundError(
            f"no images to compare the export on: {error}; give others with --images FOLDER"
        ) from error
    return next(splits[name] for name in ("test", "val", "train") if name in splits)
