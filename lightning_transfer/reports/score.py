"""Running a model once over what it is judged by."""

from collections.abc import Iterable

import torch
from torch import Tensor

from lightning_transfer.contracts import ImageBatch, Scored
from lightning_transfer.data import ImageData
from lightning_transfer.data.sources import ImageSource
from lightning_transfer.modules import TransferModule


def score_all(module: TransferModule, data: ImageData, device: torch.device) -> dict[str, Scored]:
    """Compute the logits of the validation split, where there is one, the test split, all named sets and corrupted versions.

    Args:
        module: the model, put into evaluation mode and onto the device.
        data: as for `test`.
        device: where to compute.

    Raises:
        ValueError: if the data has no test split, or the model refuses its images.
    """
    data.prepare_data()
    data.setup("test")
    named = tested(data)
    if "val" in data.splits():
        data.setup("validate")
        named = {"val": data.val_dataloader(), **named}
    module.to(device).eval()
    return {name: score(module, loader, device) for name, loader in named.items()}


def tested(data: ImageData) -> dict[str, Iterable[ImageBatch]]:
    """Loaders of the test split, `test`, and of all named sets; the data is set up for a test."""
    loaders = data.test_dataloader()
    return loaders if isinstance(loaders, dict) else {"test": loaders}


@torch.no_grad()  # inference mode would leave tensors that no temperature can be fitted on
def score(module: TransferModule, loader: Iterable[ImageBatch], device: torch.device, views: bool = True) -> Scored:
    """Compute the logits of one set.

    Args:
        module: the model, in evaluation mode and on the device.
        loader: of an `ImageData`.
        device: where to compute.
        views: whether the model looks as often as in a test, or once.

    Raises:
        ValueError: if the model refuses the images, or a logit is not finite.
    """
    logits: list[Tensor] = []
    targets: list[Tensor] = []
    names: list[str] = []
    for batch in loader:
        on_device = batch._replace(image=batch.image.to(device, non_blocking=True))
        if not logits:
            module._check(on_device)
        found = module.test_logits(on_device.image) if views else module(on_device.image).logits
        logits.append(found.float().cpu())
        targets.append(batch.target)
        names += batch.name
    found = torch.cat(logits)
    if not found.isfinite().all():
        raise ValueError(f"the logits of {names[int((~found.isfinite()).any(1).nonzero()[0])]} are not all finite")
    return Scored(found, torch.cat(targets), names, _groups(loader.dataset.source, names))  # type: ignore[attr-defined]


def _groups(source: ImageSource, names: list[str]) -> list[str] | None:
    if source.groups is None:
        return None
    group = dict(zip(source.names, source.groups, strict=True))  # by name: an image that could not be read is missing
    return [group[name] for name in names]
