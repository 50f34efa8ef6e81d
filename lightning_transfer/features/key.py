"""What features depend on, as hashes: they are used again only where all of it is the same."""

import hashlib
from typing import NamedTuple

from lightning_transfer import hashes
from lightning_transfer.backbones import Backbone
from lightning_transfer.data import ImageData
from lightning_transfer.data.sources import ImageSource


class FeatureKey(NamedTuple):
    """Hashes of the backbone's weights and structure, of the evaluation transform, and of the images with names and targets.

    The device is no part of it: the same weights give the same features everywhere, up to rounding. Neither is code: whoever changes
    that of a backbone while its printed structure stays the same gives another folder.
    """

    weights: str
    transform: str
    images: str
    image_size: int

    @property
    def short(self) -> str:
        """16 hexadecimal digits for the name of a folder."""
        return hashlib.sha256("/".join(map(str, self)).encode()).hexdigest()[:16]


def feature_key(backbone: Backbone, data: ImageData, source: ImageSource) -> FeatureKey:
    """Hash what the features of a source depend on.

    Args:
        backbone: already adapted to the image size.
        data: whose evaluation transform and image size count.
        source: the images of one split. Files count by name, size and time of change, all else by its pixels.
    """
    transform = data.eval_transform(data.image_size)  # not what makes it, which the command line wraps
    return FeatureKey(
        hashes.of_module(backbone), hashes.of_transform(transform), hashes.of_source(source), data.image_size
    )
