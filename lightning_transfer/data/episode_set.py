"""Episodes by their numbers: their images, stacked to a batch, from pixels or from embeddings that are there already."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_transfer.contracts import Episode, ImageBatch
from lightning_transfer.data.datasets import EMBEDDING, ImageDataset, collate
from lightning_transfer.data.episode_sampling import EpisodeSampler


class EpisodeDataset(Dataset[Episode]):
    """Episodes over a set of images; a loader asks for those of a batch at once, so that workers and embeddings have whole batches.

    Args:
        images: a side's images, numbered as the sampler does.
        sampler: says which images an episode has.
        classes: which of the data's classes each class of the sampler is, (K,).
        episodes: how many there are, in training an epoch.
    """

    def __init__(self, images: ImageDataset, sampler: EpisodeSampler, classes: Tensor, episodes: int) -> None:
        self.images = images
        self.sampler = sampler
        self.classes = classes
        self.episodes = episodes

    def __len__(self) -> int:
        return self.episodes

    def __getitem__(self, number: int) -> Episode:
        return self.__getitems__([number])

    def __getitems__(self, numbers: Sequence[int]) -> Episode:
        """The episodes of these numbers, stacked."""
        drawn = [self.sampler.draw(number) for number in numbers]
        return Episode(
            stacked(self.images, [d.support for d in drawn], torch.tensor([d.support_ways for d in drawn])),
            stacked(self.images, [d.query for d in drawn], torch.tensor([d.query_ways for d in drawn])),
            self.classes[torch.tensor([d.classes for d in drawn])],
        )


def whole_batch(episode: Episode) -> Episode:
    """A batch as `__getitems__` returns it, which needs no collating."""
    return episode


def stacked(images: ImageDataset, numbers: Sequence[Sequence[int]], target: Tensor) -> ImageBatch:
    """Load images by their numbers into a batch with (E, S) in the place of (B,).

    Args:
        images: the set; where it has embeddings, these are taken, all at once.
        numbers: E x S, each draw x N + index.
        target: (E, S).
    """
    if images.embeddings is not None:
        return _embedded(images, torch.tensor(numbers), target)
    batch = collate([images[number] for row in numbers for number in row])
    assert batch.indices is not None
    modalities = {name: _by_episode(other, target) for name, other in batch.modalities.items()}
    return ImageBatch(
        _by_episode(batch.image, target),
        target,
        batch.name,
        batch.indices.view_as(target),
        modalities,
        batch.text,
    )


def _by_episode(row: Tensor, target: Tensor) -> Tensor:
    """What is in a row, (E x S, ...), as (E, S, ...)."""
    return row.view(*target.shape, *row.shape[1:])


def _embedded(images: ImageDataset, numbers: Tensor, target: Tensor) -> ImageBatch:
    embeddings, source = images.embeddings, images.source
    assert embeddings is not None
    indices = numbers % len(images)
    rows = numbers % (len(embeddings) * len(images))
    # twice as fast as indexing by a matrix
    embedding = embeddings.flatten(0, 1).index_select(0, rows.flatten()).view(*numbers.shape, -1)
    flat = indices.flatten().tolist()
    text = [source.captions[i] for i in flat] if source.captions is not None else ()
    return ImageBatch(
        embedding[..., :0], target, [source.names[i] for i in flat], indices, {EMBEDDING: embedding}, text
    )
