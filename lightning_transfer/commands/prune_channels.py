"""`lightning-transfer prune_channels`: from a checkpoint to one with fewer channels, which is smaller and faster as it is."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from lightning_transfer.checkpoint import (
    import_class,
    read_checkpoint,
    rebuild,
    weights_from_checkpoint,
    write_changed,
)
from lightning_transfer.compression.calibration import CalibrationImages
from lightning_transfer.compression.channels import Importance, Ranking, check_pruning, remove_channels
from lightning_transfer.compression.coupled import torch_pruning
from lightning_transfer.contracts import ImageBatch, Insertion
from lightning_transfer.data import ImageData
from lightning_transfer.data.named_sets import check_against_checkpoint
from lightning_transfer.devices import find_device
from lightning_transfer.edits.narrow_channels import layer_widths, narrowing, recorded
from lightning_transfer.files import write_csv
from lightning_transfer.merging.batch_norm import recompute_batch_norm as recompute
from lightning_transfer.modules import DistillModule, FinetuneModule, TransferModule
from lightning_transfer.reports.compression import Judge, require_split, show, write_report
from lightning_transfer.runs import output_path


def prune_channels(
    ckpt_path: str,
    ratio: float = 0.3,
    importance: Importance = "magnitude",
    ranking: Ranking = "layer",
    round_to: int = 8,
    data: ImageData | None = None,
    images: int = 1024,
    recompute_batch_norm: bool = True,
    rounds: int = 15,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    device: str = "auto",
    out: str | None = None,
) -> Path:
    """Take the least important channels out of a checkpoint's network, and write a smaller one that loads like any other.

    Layers that are coupled, by an addition or a depthwise convolution for example, lose the same channels. The head's outputs stay, and
    channels that a layer norm averages over: of a transformer or a ConvNeXt, heads of attention and inner channels of MLPs go. A
    checkpoint that was pruned can be pruned again. Train on with `StartFrom`, which makes the model as narrow as the checkpoint.

    Beside the checkpoint it writes a table of the layers as CSV, and as JSON what there is to say of both networks: parameters, bytes,
    multiplications, latency and throughput as they were measured, and on the test split each metric with its interval and that of its
    change.

    Args:
        ckpt_path: checkpoint of a `FinetuneModule` or `DistillModule`.
        ratio: share of the channels that go, in [0, 1); 0 changes nothing.
        importance: `magnitude` of a channel's weights in all layers that have it, or `taylor`: by the loss's gradient on training images,
            how the loss changes without it.
        ranking: `layer` takes the same share everywhere, `isomorphic` the least important of all that are coupled alike.
        round_to: kept channels are a multiple of it, at least 1; runtimes for CPUs compute in blocks of 8 or 16, and can take longer for a
            rest than for a block.
        data: brings training images, and test images; the checkpoint's own if not given.
        images: for gradients and statistics, at least 1.
        recompute_batch_norm: whether statistics of batch norms are computed anew from training images. Frozen norms keep theirs.
        rounds: in which both networks are timed, one beside the other.
        resamples: of the bootstrap, at least 1.
        level: of the intervals, in (0, 1).
        seed: of the bootstrap.
        device: where to compute, such as cuda:0; auto takes a GPU if there is one.
        out: checkpoint to write, ending in .ckpt; in a folder of its own beside the first one if not given.

    Returns:
        The path of the checkpoint.

    Raises:
        FileNotFoundError, ValueError: for a file that is no checkpoint, data without training or test images, a network that cannot be
            pruned, or values out of range.
        ModuleNotFoundError: without Torch-Pruning.
    """
    check_pruning(ratio, importance, ranking, round_to)
    torch_pruning()
    place, path = find_device(device), output_path("prune_channels", ckpt_path, out)
    dense: TransferModule = TransferModule.load_from_checkpoint(ckpt_path, map_location="cpu")
    checkpoint = read_checkpoint(ckpt_path)
    _check(dense, checkpoint["hyper_parameters"], ckpt_path)
    data = data or ImageData.load_from_checkpoint(ckpt_path)
    check_against_checkpoint(data, dense.class_names)
    require_split(data, "test", "to measure what pruning costs")
    calibration = CalibrationImages(data, images, dense.memory_format)
    dense.to(place).eval().setup("predict")  # lays out the weights
    scout = deepcopy(dense)
    if importance == "taylor":
        _add_gradients(scout, calibration.batches())
    image = next(iter(calibration))[:1].to(place)
    left_out = remove_channels(scout.model, image, ratio, importance, ranking, round_to)
    module, hparams = _rebuild(dense, scout, checkpoint["hyper_parameters"])
    if recompute_batch_norm and hparams is not checkpoint["hyper_parameters"]:
        recompute(module.model, (batch.to(place) for batch in calibration))
    figures = Judge(dense, data, place, resamples, level, seed).all_figures(module, rounds)
    write_changed(checkpoint, path, hyper_parameters=hparams, state_dict=module.state_dict())
    made_of = {
        "checkpoint": ckpt_path,
        "ratio": ratio,
        "importance": importance,
        "ranking": ranking,
        "round_to": round_to,
    }
    write_report(path.with_suffix(".json"), figures, **made_of, images=images, left_out=left_out)
    write_csv(_table(dense.model, module.model), path.with_suffix(".csv"))
    show(figures, f"{ckpt_path}, narrowed", level)
    rank_zero_info(f"pruned; next: lightning-transfer test --ckpt_path {path}")
    return path


def _check(module: TransferModule, hparams: Mapping[str, Any], ckpt_path: str) -> None:
    if not isinstance(module, FinetuneModule | DistillModule):
        raise ValueError(
            f"ckpt_path={ckpt_path!r} holds a {type(module).__name__}; channels are pruned from classifiers and regressors, which a "
            "FinetuneModule or a DistillModule trains"
        )
    classes = [import_class(edit["class_path"]) for edit in hparams.get("edits") or ()]
    inserted = [cls.__name__ for cls in classes if issubclass(cls, Insertion)]
    if inserted:
        raise ValueError(
            f"ckpt_path={ckpt_path!r} has layers that {', '.join(inserted)} inserted; take what lightning-transfer merge writes of it"
        )


def _add_gradients(module: TransferModule, batches: Iterable[ImageBatch]) -> None:
    """Leave each parameter of the model the gradient of the loss, summed over batches."""
    device = next(module.model.parameters()).device
    module.model.requires_grad_(True)
    with torch.enable_grad():
        for batch in batches:
            on_device = batch._replace(image=batch.image.to(device), target=batch.target.to(device))
            module.step(on_device).loss.backward()  # type: ignore[no-untyped-call]


def _rebuild(
    dense: TransferModule, pruned: TransferModule, hparams: Mapping[str, Any]
) -> tuple[TransferModule, Mapping[str, Any]]:
    """A module as the new checkpoint will be loaded, with the pruned weights, and its hyper-parameters."""
    edit = narrowing(dense.model, pruned.model)
    if not edit.outputs and not edit.inputs:
        return deepcopy(dense), hparams
    hparams = {**hparams, "edits": recorded(hparams.get("edits"), edit + getattr(dense.model, "narrowed", None))}
    with weights_from_checkpoint():
        module: TransferModule = rebuild(
            deepcopy(hparams)
        )  # jsonargparse leaves objects of its own in what it is given
    module.model.load_state_dict(pruned.model.state_dict())
    for penalty in getattr(module, "penalties", ()):
        penalty.remember(module.model)  # what it held on to has channels that are gone
    own = module.state_dict()
    other = {k: v for k, v in dense.state_dict().items() if k in own and not k.startswith(("model.", "penalties."))}
    module.load_state_dict({**own, **other})
    module.to(next(dense.model.parameters()).device).eval().setup("predict")
    return module, hparams


def _table(dense: nn.Module, narrow: nn.Module) -> list[dict[str, Any]]:
    """What became of each layer that has channels."""
    rows = []
    for name, layer in narrow.named_modules():
        before, after = layer_widths(dense.get_submodule(name)), layer_widths(layer)
        if before is not None and after is not None:
            rows.append(
                {
                    "name": name,
                    "inputs": after[0],
                    "outputs": after[1],
                    "dense_inputs": before[0],
                    "dense_outputs": before[1],
                }
            )
    return rows
