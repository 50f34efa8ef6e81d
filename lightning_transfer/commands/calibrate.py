"""`lightning-transfer calibrate`: from a checkpoint to one whose probabilities can be taken at their word."""

from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_transfer.calibration import divide_logits, fit_temperature
from lightning_transfer.checkpoint import read_checkpoint, write_changed
from lightning_transfer.data import ImageData
from lightning_transfer.data.named_sets import check_against_checkpoint
from lightning_transfer.devices import find_device
from lightning_transfer.metrics.weighted import weighted_metrics
from lightning_transfer.models import Classifier
from lightning_transfer.modules import TransferModule
from lightning_transfer.reports.score import score
from lightning_transfer.runs import output_path


def calibrate(ckpt_path: str, data: ImageData | None = None, device: str = "auto", out: str | None = None) -> Path:
    """Fit a temperature on the validation split, and write a checkpoint whose logits are divided by it.

    The head's weights hold it, so that test, predict, report, export and push need not know of it. No decision changes. The
    temperature is that of one look at an image; where the checkpoint has `test_views`, it holds for each view before they are
    averaged.

    Args:
        ckpt_path: checkpoint of a classifier, written by `fit`.
        data: brings the validation images; the checkpoint's own if not given.
        device: where to compute, such as cuda:0; auto takes a GPU if there is one.
        out: checkpoint to write, ending in .ckpt; in a folder of its own beside the first one if not given.

    Returns:
        The path of the checkpoint.

    Raises:
        FileNotFoundError, ValueError: for a file that is no checkpoint of a classifier, other classes, data without validation
            split, or one that allows no temperature.

    Reference:
        Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2.
    """
    place = find_device(device)
    module: TransferModule = TransferModule.load_from_checkpoint(ckpt_path, map_location="cpu")
    if module.task == "regression":
        raise ValueError(
            f"ckpt_path={ckpt_path!r} has task=regression, but a temperature is for the probabilities of classes"
        )
    model = module.model
    if not isinstance(model, Classifier):
        raise ValueError(f"ckpt_path={ckpt_path!r} holds a {type(model).__name__}, which has no head of its own")
    path = output_path("calibrate", ckpt_path, out)
    data = data or ImageData.load_from_checkpoint(ckpt_path)
    check_against_checkpoint(data, module.class_names)
    data.prepare_data()
    data.setup("validate")
    val = score(module.to(place).eval(), data.val_dataloader(), place, views=False)
    temperature = fit_temperature(val.logits, val.target)
    module.cpu()
    divide_logits(model.head, model.backbone.num_features, temperature)
    write_changed(read_checkpoint(ckpt_path), path, state_dict=module.state_dict())
    before, after = (_figures(val.logits / divisor, val.target) for divisor in (1, temperature))
    changes = ", ".join(f"{name} {before[name]:.4f} -> {after[name]:.4f}" for name in ("nll", "ece"))
    print(f"temperature {temperature:.4f}; on {len(val.target)} validation images: {changes}")
    rank_zero_info(f"calibrated; next: lightning-transfer predict --ckpt_path {path}")
    return path


def _figures(logits: Tensor, target: Tensor) -> dict[str, float]:
    once = torch.ones(1, len(target), dtype=torch.float64)
    return {name: value.item() for name, value in weighted_metrics(logits, target)(once).items()}
