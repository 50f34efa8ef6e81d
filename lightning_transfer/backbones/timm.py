"""Any image model of timm as a backbone, with its own normalisation in front and its classifier off."""

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from lightning_transfer.backbones.base import Backbone
from lightning_transfer.backbones.weights import load_weights, offline_if_unreachable
from lightning_transfer.checkpoint import expects_checkpoint
from lightning_transfer.contracts import Features


class TimmBackbone(Backbone):
    """A timm model without its classifier.

    Args:
        name: timm's name, `resnet18` or `vit_small_patch16_224.dino` for example; or where a model lies in timm's layout:
            `hf-hub:USER/NAME` on the Hugging Face hub, `local-dir:FOLDER` on this machine. A checkpoint names the architecture
            in its stead, and so needs neither.
        pretrained: where the weights come from: `true` the hub, through timm; `packaged` an installed Python package that brings
            them; a path to a `.safetensors` or `.pth` file; `false` random; `auto` the hub if it can be reached, otherwise random
            with a warning.
        options: further arguments of `timm.create_model`, `{drop_path_rate: 0.1}` for example.

    Shape:
        image (B, 3, H, W) in [0, 1] → embedding (B, D), one map (B, C, h, w) or (B, N, D).

    Raises:
        ValueError: for a name that timm does not know (the nearest are named), or weights that do not fit.
        FileNotFoundError: for a model or weights that cannot be had, with the ways to get them.
    """

    def __init__(self, name: str, pretrained: bool | str = "auto", options: dict[str, Any] | None = None) -> None:
        super().__init__()
        architecture, options = _find(name, options or {})
        self._take(create_timm(architecture, {**options, "num_classes": 0}))
        if not expects_checkpoint():
            load_weights(self.model, name, pretrained, options)
        if architecture != name:
            self.init_args = {"name": architecture, "pretrained": pretrained, "options": options}

    @classmethod
    def of(cls, model: nn.Module) -> "TimmBackbone":
        """Wrap a timm model that is already built; its classifier is dropped."""
        backbone: TimmBackbone = cls.__new__(cls)
        nn.Module.__init__(backbone)
        model.reset_classifier(0)  # type: ignore[operator]
        backbone._take(model)
        return backbone

    mean: Tensor
    std: Tensor

    def _take(self, model: nn.Module) -> None:
        self.model: Any = model
        self.num_features = int(getattr(model, "head_hidden_size", None) or model.num_features)  # type: ignore[arg-type]
        for statistic, value in statistics(model).items():
            self.register_buffer(statistic, value, persistent=False)

    def forward(self, image: Tensor) -> Features:
        maps = self.model.forward_features((image - self.mean) / self.std)
        return Features(self.model.forward_head(maps, pre_logits=True), (maps,))

    def stages(self, coarse: bool = True) -> dict[str, int]:
        from timm.models import group_parameters

        groups = group_parameters(self.model, self.model.group_matcher(coarse=coarse))
        return {f"model.{name}": stage for stage, names in groups.items() for name in names}

    def no_weight_decay(self) -> set[str]:
        listed = getattr(self.model, "no_weight_decay", set)
        return {f"model.{name}" for name in listed()}

    def set_image_size(self, image_size: int) -> None:
        adapt_to_size(self.model, image_size)


def _find(name: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Turn a folder's or repository's name into the architecture, and the options by which timm builds it without either."""
    from timm.models import resolve_model_input_args

    if ":" not in name:
        return name, options
    try:
        with offline_if_unreachable():
            found = resolve_model_input_args(name)
    except (
        Exception
    ) as error:  # of the name, the folder, the hub and its transport, or a configuration that is not timm's
        raise FileNotFoundError(
            f"backbone={name!r} cannot be had: {(str(error) or repr(error)).splitlines()[0]} (hf-hub:USER/NAME is a model of "
            "timm on the Hugging Face hub, local-dir:FOLDER a folder with config.json and model.safetensors)"
        ) from error
    architecture, config = found["model_name"], found["pretrained_cfg"]
    built = {k: v for k, v in found.get("pretrained_model_args", {}).items() if k != "num_classes"}
    statistics = {"mean": list(config["mean"]), "std": list(config["std"])}
    return architecture, {**built, "pretrained_cfg_overlay": statistics, **options}


def adapt_to_size(model: Any, image_size: int) -> None:
    """Let a timm model take square images of another side in pixels than it was made for.

    Raises:
        ValueError: if it cannot.
    """
    if hasattr(model, "set_input_size"):  # transformers with position embeddings for one size
        try:
            model.set_input_size(img_size=image_size)
        except Exception as error:
            raise ValueError(
                f"{model.pretrained_cfg.get('architecture')} cannot take image_size={image_size}: {error}"
            ) from error


def statistics(model: nn.Module) -> dict[str, Tensor]:
    """Mean and standard deviation, (C, 1, 1), by which a timm model wants images in [0, 1] normalised."""
    config: Any = model.pretrained_cfg
    return {statistic: torch.tensor(config[statistic]).view(-1, 1, 1) for statistic in ("mean", "std")}


def create_timm(name: str, options: dict[str, Any]) -> nn.Module:
    """Build a model of timm with random weights.

    Raises:
        ValueError: for a name that timm does not know, with the nearest.
    """
    import timm

    if timm.is_model(name):
        model: nn.Module = timm.create_model(name, pretrained=False, **options)
        return model
    architectures = timm.list_models()
    near = difflib.get_close_matches(name.split(".")[0], architectures, n=3, cutoff=0.5)
    hint = f"nearest names: {', '.join(near)}" if near else "timm.list_models() lists them"
    raise ValueError(f"{name!r} is no model of timm; {hint}")
