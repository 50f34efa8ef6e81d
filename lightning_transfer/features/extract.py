"""Running a frozen backbone over images."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lightning_transfer.backbones import Backbone
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data import ImageData
from lightning_transfer.data.sources import ImageSource


def embed(backbone: Backbone, data: ImageData, source: ImageSource) -> Iterator[tuple[Tensor, ImageBatch]]:
    """Yield the embeddings of a source batch by batch, on the CPU, computed where the backbone's weights are.

    Args:
        backbone: in evaluation mode while it is used.
        data: gives batch size, workers and evaluation transform.
        source: images, taken in their order.

    Yields:
        embedding (B, D) float32, and the batch that it belongs to

    Raises:
        ValueError: if the backbone refuses the images, or its embeddings are not finite vectors.
    """
    device = next((p.device for p in backbone.parameters()), torch.device("cpu"))
    # channels last: up to 1.7 times as fast on convolutional networks, see docs/results.md
    backbone.to(memory_format=torch.channels_last)
    with evaluating(backbone):
        for batch in data.ordered_dataloader(source):
            with torch.inference_mode():  # not around the loop: it would reach whoever takes the batches
                image = batch.image.to(device, non_blocking=True, memory_format=torch.channels_last)
                embedding = _embedding(backbone, image)
            if not embedding.isfinite().all():
                raise ValueError(f"the embeddings of {batch.name[0]} and the images after it are not all finite")
            yield embedding, batch


def _embedding(backbone: Backbone, image: Tensor) -> Tensor:
    try:
        embedding: Tensor = backbone(image).embedding
    except torch.OutOfMemoryError as error:
        raise ValueError(f"{len(image)} images at once are too many for the device; lower data.batch_size") from error
    except (AssertionError, RuntimeError, ValueError) as error:
        height, width = image.shape[-2:]
        raise ValueError(
            f"the backbone refuses images of {height}x{width} pixels: {error}; set another data.image_size"
        ) from error
    if embedding.ndim != 2:
        raise ValueError(f"the backbone returns {tuple(embedding.shape)}; a probe needs one vector an image, (B, D)")
    return embedding.float().cpu()


@contextmanager
def evaluating(backbone: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; afterwards every module has its own mode again."""
    training = [module for module in backbone.modules() if module.training]
    backbone.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
