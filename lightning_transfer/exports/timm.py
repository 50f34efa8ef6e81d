"""A folder in timm's layout, which is also that of the Hugging Face hub."""

import json
import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import to_pil_image

from lightning_transfer.backbones import TimmBackbone
from lightning_transfer.data import EvalTransform
from lightning_transfer.exports.base import ExportFormat, Runner
from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.models import Classifier, Regressor
from lightning_transfer.tasks import Task, answer

_PROBLEMS: dict[Task, str] = {  # how Hugging Face's configurations call them
    "classification": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}

_CHANGED = "format=timm: the backbone is no longer as timm builds it, since edits have changed its layers; format=onnx or torch can write it"


class TimmExport(ExportFormat):
    """`model.safetensors` and `config.json`: `timm.create_model("local-dir:FOLDER", pretrained=True)` has the same logits.

    What was pretrained without labels has embeddings instead. The configuration names classes, normalisation, image size and crop, so that timm's own transform prepares images alike.

    Raises:
        ValueError: for anything but a timm backbone, as timm builds it, with a linear head.
    """

    suffix = ""

    def write(self, model: Deployed, path: Path) -> None:
        from timm.models import save_for_hf

        backbone, head = _parts(model.model)
        if hasattr(model.model, "narrowed"):
            raise ValueError(_CHANGED)
        network: Any = deepcopy(backbone.model)
        if isinstance(head, nn.Linear):
            network.reset_classifier(len(model.class_names))
            _fill(network.get_classifier(), head)
        names = {"label_names": model.class_names} if isinstance(head, nn.Linear) else {}
        save_for_hf(
            network,
            str(path),
            model_config={**names, "problem_type": _PROBLEMS[model.task]},
            safe_serialization=True,
            data_config={
                "input_size": (3, model.prepare.size, model.prepare.size),
                "mean": tuple(backbone.mean.flatten().tolist()),
                "std": tuple(backbone.std.flatten().tolist()),
                "interpolation": "bilinear",
                "crop_pct": _crop(model.transform),
                "crop_mode": "center",
            },
        )

    def load(self, path: Path) -> Runner:
        import timm
        from timm.data.config import resolve_model_data_config
        from timm.data.transforms_factory import create_transform

        try:
            network = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
        except RuntimeError as error:  # torch's list of tensors that are missing or too many
            raise ValueError(_CHANGED) from error
        transform = create_transform(**resolve_model_data_config(network), is_training=False)  # type: ignore[no-untyped-call]
        problem = json.loads((path / "config.json").read_text())["problem_type"]
        task = next(task for task, name in _PROBLEMS.items() if name == problem)

        def run(image: Tensor) -> Tensor:
            return answer(network(torch.stack([transform(to_pil_image(one)) for one in image])), task)

        return run


def _parts(model: nn.Module) -> tuple[TimmBackbone, nn.Linear | nn.Identity]:
    if not isinstance(model, Classifier) or not isinstance(model.backbone, TimmBackbone):
        found = type(getattr(model, "backbone", model)).__name__
        raise ValueError(
            f"format=timm writes a timm backbone with a head, not {found}; format=onnx or torch can write it"
        )
    if isinstance(model.head, nn.Identity):  # pretrained without labels: the backbone is all there is
        return model.backbone, model.head
    if not isinstance(model.head, nn.Linear):
        raise ValueError(
            f"format=timm needs head=LinearHead, which is what timm's models end in, not {type(model.head).__name__}; "
            "format=onnx or torch can write it"
        )
    return model.backbone, _in_own_units(model, model.head) if isinstance(model, Regressor) else model.head


@torch.no_grad()
def _in_own_units(model: Regressor, head: nn.Linear) -> nn.Linear:
    """Fold the change of units into the head."""
    folded = nn.Linear(head.in_features, head.out_features)
    folded.weight.copy_(head.weight * model.deviation[:, None])
    folded.bias.copy_(model.mean if head.bias is None else head.bias * model.deviation + model.mean)
    return folded


@torch.no_grad()
def _fill(classifier: Any, head: nn.Linear) -> None:
    """Give timm's classifier the head's weights; models with two average their logits, so each gets all."""
    for layer in classifier if isinstance(classifier, tuple) else (classifier,):
        if not isinstance(layer, nn.Linear | nn.Conv2d) or (layer.bias is None and head.bias is not None):
            raise ValueError(
                f"format=timm cannot put a linear head into a classifier of kind {type(layer).__name__}; "
                "format=onnx or torch can write it"
            )
        layer.weight.copy_(head.weight.view_as(layer.weight))
        if layer.bias is not None:
            layer.bias.copy_(torch.zeros_like(layer.bias) if head.bias is None else head.bias)


def _crop(transform: EvalTransform) -> float:
    """The share that timm, which rounds down, resizes to the same length as we, who round."""
    exact = transform.size / transform.short_side
    shares = (transform.crop, exact, transform.size / (transform.short_side + 0.5))
    return next(share for share in shares if math.floor(transform.size / share) == transform.short_side)
