"""What a teacher sees of a batch where it knows another modality than the student."""

from typing import Any

import torch

from lightning_transfer.contracts import ImageBatch


def in_modality(batch: ImageBatch, modality: str | None) -> ImageBatch:
    """Put a modality in place of the images.

    Args:
        batch: as the student sees it.
        modality: by its name in `batch.modalities`; none leaves the batch as it is.

    Raises:
        ValueError: for a modality that the batch has not, with those it has.
    """
    if modality is None:
        return batch
    if modality not in batch.modalities:
        raise ValueError(
            f"teacher_modality={modality!r} is in no batch; there are {', '.join(batch.modalities) or 'none'}, beside the "
            "image itself"
        )
    return batch._replace(image=batch.modalities[modality], modalities={})


def grey_batch(side: int, modality: str | None, images: Any, device: torch.device) -> ImageBatch:
    """Two grey images without labels, and as grey in all modalities that go along.

    Args:
        side: of the images in pixels.
        modality: that the teacher sees; of none no other is shown.
        images: the training data, an `ImageDataset`, which tells the shapes of other modalities; without it they are the images'.
        device: of the tensors.
    """
    image = torch.full((2, 3, side, side), 0.5, device=device)
    shapes = {}
    if modality is not None:
        shapes = {modality: image.shape[1:]}
        if images is not None:
            shapes = {name: other.shape[1:] for name, other in images.example().modalities.items()}
    modalities = {name: torch.full((2, *shape), 0.5, device=device) for name, shape in shapes.items()}
    return ImageBatch(image, torch.full((2,), -1), modalities=modalities)
