"""What features depend on, as hashes: they are used again only where all of it is the same."""

import hashlib
import re
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_transfer.backbones import Backbone
from lightning_transfer.data import ImageData
from lightning_transfer.data.sources import ImageSource
from lightning_transfer.parts import UndescribableError, describe


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
    return FeatureKey(_of_backbone(backbone), _of_transform(data), _of_source(source), data.image_size)


def _of_backbone(backbone: nn.Module) -> str:
    digest = hashlib.sha256()
    # the structure: one set of weights gives other features behind another activation; an address in memory is no part of it
    digest.update(re.sub(r" at 0x[0-9a-f]+", "", f"{type(backbone)}\n{backbone}").encode())
    # not state_dict(), which leaves out the mean and standard deviation that images are normalised with
    for name, tensor in sorted(chain(backbone.named_parameters(), backbone.named_buffers())):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _of_transform(data: ImageData) -> str:
    transform = data.eval_transform(data.image_size)  # not what makes it, which the command line wraps
    try:
        described = repr(describe(transform))
    except UndescribableError:
        described = repr(transform)
    digest = hashlib.sha256(re.sub(r" at 0x[0-9a-f]+", "", described).encode())
    # a transform of the user's own may not show its arguments, but it shows what it does to an image
    image = torch.randint(256, (3, 96, 128), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    digest.update(_bytes(transform(image)))
    return digest.hexdigest()


def _of_source(source: ImageSource) -> str:
    digest = hashlib.sha256(_bytes(source.targets))
    for i, name in enumerate(source.names):
        digest.update(name.encode(errors="surrogateescape") + b"\0")
        digest.update(hashlib.sha256(source.version(i)).digest())
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().flatten()  # the layout in memory is no part of it
    return flat.view(torch.uint8).numpy().tobytes()
