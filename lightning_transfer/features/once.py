"""What a frozen backbone makes of a prepared set, computed once for all epochs and shared among processes."""

from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_transfer.backbones import Backbone
from lightning_transfer.data.datasets import ImageDataset


def embed_once(backbone: Backbone, trainer: Any, name: str, max_gigabytes: float) -> None:
    """Let a set give out the embeddings of its images from now on, of all versions that a random transform makes of each.

    Each process computes its share. Nothing is done where a random transform makes other images in each epoch.

    Args:
        backbone: in evaluation mode.
        trainer: with a datamodule of the package.
        name: of the set, train or val.
        max_gigabytes: that the embeddings may take in each process's memory, in 10⁹ bytes.

    Raises:
        ValueError: if they would take more.
    """
    data = trainer.datamodule
    images: ImageDataset = data.sets[name]
    versions = images.versions
    if versions is None:
        rank_zero_info(
            f"the {name} images differ in each epoch, so the backbone runs in each; with data.augmentations=4 it would see four versions of each "
            "image, once"
        )
        return
    size = versions * len(images) * (backbone.num_features + 1) * 4 / 1e9
    if size > max_gigabytes:
        raise ValueError(
            f"the backbone's features of the {name} images would take {size:.3g} GB, but max_gigabytes={max_gigabytes:g}; raise it "
            "if each process has that much, lower data.augmentations, or set it to 0 to compute them in every epoch"
        )
    images.embed(None)  # what other weights made of them
    images.embed(embed_all(backbone, trainer, images, versions))


def embed_all(backbone: Backbone, trainer: Any, images: ImageDataset, versions: int = 1) -> Tensor:
    """Embeddings (V, N, D) of a set, NaN for what cannot be read; each process computes its share.

    Args:
        backbone: in evaluation mode.
        trainer: with a datamodule of the package.
        images: the set.
        versions: V, of each image.
    """
    count = len(images)
    # one more column, which says what could be read: sums over processes cannot carry NaN
    rows = torch.zeros(versions, count, backbone.num_features + 1)
    for version in range(versions):
        numbers = range(version * count, (version + 1) * count)
        share = numbers[trainer.global_rank :: trainer.world_size]
        for batch in trainer.datamodule.numbered(images, share) if len(share) else ():
            with torch.no_grad():
                embedding = backbone(batch.image.to(trainer.strategy.root_device)).embedding.float().cpu()
            rows[version, batch.indices] = torch.cat([embedding, torch.ones(len(embedding), 1)], dim=1)
    rows = trainer.strategy.reduce(rows.to(trainer.strategy.root_device), reduce_op="sum").cpu()
    embeddings: Tensor = rows[:, :, :-1].clone()
    embeddings[rows[:, :, -1] == 0] = float("nan")
    return embeddings
