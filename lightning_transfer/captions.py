"""Captions as numbers: those that read alike have one number, in every process."""

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from lightning_transfer.contracts import ImageBatch


def caption_groups(texts: Sequence[str]) -> Tensor:
    """A number for each text, the same where the texts are, whatever batch or process they are in.

    Spaces around do not count. That two of a million texts share a number has a probability of 3 in 10⁸.

    Shape:
        N texts → (N,) int64

    Example:
        >>> first, again, other = caption_groups(["A frog.", " A frog. ", "A dog."]).tolist()
        >>> first == again, first == other
        (True, False)
    """
    digests = [blake2b(text.strip().encode(errors="surrogatepass"), digest_size=8).digest() for text in texts]
    return torch.tensor([int.from_bytes(digest, "little", signed=True) for digest in digests], dtype=torch.int64)


def check_captions(batch: ImageBatch) -> None:
    """Refuse a batch whose images have no captions.

    Raises:
        ValueError: naming data that has some.
    """
    if len(batch.text) != len(batch.target):
        raise ValueError(
            "the data has no captions, and image-text training needs one an image; StampsData and EmojiData have them, CsvData takes "
            "them from data.caption_column"
        )
