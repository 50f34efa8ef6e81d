"""`lightning-transfer zero_shot_head`: what an image-text model knows of classes by their names, as an ordinary classifier."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from lightning_transfer.adapters.zero_shot import check_words, zero_shot_weights
from lightning_transfer.backbones import ImageTextBackbone
from lightning_transfer.data import ImageData
from lightning_transfer.heads import LinearHead
from lightning_transfer.models.image_text_checkpoint import as_image_text
from lightning_transfer.probes.classifier import save_classifier
from lightning_transfer.runs import run_folder
from lightning_transfer.templates import read_templates


def zero_shot_head(
    image_text: nn.Module | str,
    data: ImageData,
    templates: list[str] | str = "single",
    words: dict[str, str] | None = None,
    out: str | None = None,
) -> Path:
    """Write a checkpoint of the image tower with a linear head, whose weights are the texts' vectors times the scale.

    It says what `ZeroShotModule` says, and can be fine-tuned: `StartFrom` begins a training with it, of which `wise_ft` then finds
    what lies between both.

    Args:
        image_text: a checkpoint of an image-text model, or a model.
        data: names the classes, and goes along in the checkpoint.
        templates: the name of a list, a text file, one template, or several, with `{}` for the class's name.
        words: for some of the classes, by their names.
        out: checkpoint to write, ending in .ckpt; in a folder of its own below runs if not given.

    Returns:
        The path of the checkpoint.

    Raises:
        FileNotFoundError, ValueError: for an image-text model that is none, or classes, words or templates that do not do.

    Reference:
        Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, section 3.
    """
    if out is not None and Path(out).suffix != ".ckpt":
        raise ValueError(f"out={out!r} must end in .ckpt")
    if data.task != "classification":
        raise ValueError(f"data has task={data.task}, but texts are compared with one another: one class an image")
    names = list(data.class_names)
    if unknown := sorted(set(words or {}) - set(names)):
        raise ValueError(f"words names {unknown[:5]}, but the classes are {names[:10]}")
    spoken = [(words or {}).get(name, name) for name in names]
    check_words(spoken)
    known: Any = as_image_text(image_text)
    known.backbone.set_image_size(data.image_size)
    head = LinearHead(known.num_features, len(names))
    with torch.no_grad():
        head.weight.copy_(zero_shot_weights(known, spoken, read_templates(templates)) * known.scale())
        if known.bias is not None:
            head.bias.fill_(float(known.bias))
    path = Path(out) if out else run_folder("zero_shot_head", None, "zero_shot_head") / "zero_shot_head.ckpt"
    save_classifier(ImageTextBackbone(known), head, data, path)
    rank_zero_info(f"a classifier of {len(names)} classes; next: lightning-transfer test --ckpt_path {path}")
    return path
