"""A fitted probe as a checkpoint like any other."""

from pathlib import Path

import lightning
import torch

from lightning_transfer.backbones import Backbone
from lightning_transfer.data import ImageData
from lightning_transfer.files import whole
from lightning_transfer.heads import LinearHead
from lightning_transfer.modules import FinetuneModule


def save_classifier(backbone: Backbone, head: LinearHead, data: ImageData, path: Path) -> None:
    """Write backbone and head as a checkpoint that `test`, `predict`, `wise_ft` and `StartFrom` take.

    Args:
        backbone: that the probe was fitted on.
        head: that it found.
        data: that the checkpoint brings along.
        path: of the checkpoint.
    """
    module = FinetuneModule(
        backbone,
        data.num_classes,
        class_names=list(data.class_names),
        image_size=data.image_size,
        task=data.task,
    )
    module.model.head.load_state_dict(head.state_dict())
    checkpoint = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": module.cpu().state_dict(),
        "hparams_name": "kwargs",
        "hyper_parameters": dict(module.hparams),
        "datamodule_hparams_name": "kwargs",
        "datamodule_hyper_parameters": dict(data.hparams),
    }
    module.on_save_checkpoint(checkpoint)
    with whole(path) as partial:
        torch.save(checkpoint, partial)
