"""Hashes of what stored results depend on: they are used again only where all of it is the same."""

import hashlib
import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lightning_transfer.data.sources import ImageSource
from lightning_transfer.parts import UndescribableError, describe
from lightning_transfer.seeds import drawing_by

_BLOCK = 64  # numbers of 8 bytes that are summed at once: a power of two, by which most images can be divided


def of_module(module: nn.Module) -> str:
    """Hash a network's structure as it prints itself, its weights and its buffers."""
    digest = hashlib.sha256()
    # the structure: one set of weights gives other features behind another activation; an address in memory is no part of it
    digest.update(_without_addresses(f"{type(module)}\n{module}"))
    # not state_dict(), which leaves out the mean and standard deviation that images are normalised with
    for name, tensor in sorted(chain(module.named_parameters(), module.named_buffers())):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def of_transform(transform: nn.Module) -> str:
    """Hash a transform's arguments, and what it does to an image."""
    try:
        described = repr(describe(transform))
    except UndescribableError:
        described = repr(transform)
    digest = hashlib.sha256(_without_addresses(described))
    # a transform of the user's own may not show its arguments, but it shows what it does to an image
    image = torch.randint(256, (3, 96, 128), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with drawing_by(0):
        digest.update(_bytes(transform(image)))
    return digest.hexdigest()


def of_source(source: ImageSource) -> str:
    """Hash targets, names and images; files count by name, size and time of change, all else by its pixels."""
    digest = hashlib.sha256(_bytes(source.targets))
    for i, name in enumerate(source.names):
        digest.update(name.encode(errors="surrogateescape") + b"\0")
        digest.update(hashlib.sha256(source.version(i)).digest())
    return digest.hexdigest()


def of_file(path: Path) -> str:
    """Hash a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def mark(tensor: Tensor) -> str:
    """Kind, shape and checksum of a tensor, at a gigabyte or so a second: it tells weights apart, and does not prove that nobody forged them."""
    total = int(checksums(tensor.reshape(1, -1))) if tensor.numel() else 0
    return f"{tensor.dtype} {tuple(tensor.shape)} {total}"


def of_marks(marks: Mapping[str, str]) -> str:
    """Hash the marks of tensors, by their names."""
    return hashlib.sha256("\n".join(f"{name} {found}" for name, found in sorted(marks.items())).encode()).hexdigest()


def checksums(rows: Tensor) -> Tensor:
    """A whole number a row that depends on each of its bits and on their place, and is the same for any order of addition.

    Sums of blocks and sums over blocks are each weighted by their place: two readings of the memory and little else, because every
    image of a training passes here.

    Shape:
        rows (B, ...) of any kind → (B,) int64, none of them 0
    """
    content = rows.detach().contiguous().flatten(1).view(torch.uint8)
    content = pad(content, (0, -content.shape[1] % (8 * _BLOCK)))
    blocks = content.view(torch.int64).view(len(rows), -1, _BLOCK)
    total = torch.ones(len(rows), dtype=torch.int64, device=rows.device)
    for factor, sums in ((1, blocks.sum(dim=2)), (1_000_003, blocks.sum(dim=1))):  # whatever overflows is dropped alike
        total += factor * (sums * torch.arange(1, sums.shape[1] + 1, device=rows.device)).sum(dim=1)
    return total.where(total != 0, 1)


def _without_addresses(printed: str) -> bytes:
    return re.sub(r" at 0x[0-9a-f]+", "", printed).encode()


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().flatten()  # the layout in memory is no part of it
    return flat.view(torch.uint8).numpy().tobytes()
