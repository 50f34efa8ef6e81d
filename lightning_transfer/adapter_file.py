"""A file of what training changed, and nothing else: the rest is where the hyper-parameters say."""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lightning_transfer.checkpoint import rebuild
from lightning_transfer.errors import sentence
from lightning_transfer.files import whole

if TYPE_CHECKING:
    from lightning_transfer.modules import TransferModule

_HPARAMS, _BASE = "hyper_parameters", "base_sha256"


def digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's kind, shape and values, whatever its device and layout in memory."""
    values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    head = f"{tensor.dtype}{tuple(tensor.shape)}".encode()
    return sha256(head + values.numpy().tobytes()).hexdigest()


def digests(state: Mapping[str, Any]) -> dict[str, str]:
    """Of each tensor of a state, by its name; what else a module keeps, a tokenizer for example, comes with its base."""
    return {name: digest(tensor) for name, tensor in state.items() if isinstance(tensor, Tensor)}


def base_digest(found: Mapping[str, str], without: Iterable[str]) -> str:
    """SHA-256 of all tensors but those of an adapter.

    Args:
        found: digest of each tensor, by name.
        without: names of the adapter's tensors.
    """
    lines = [f"{name} {value}" for name, value in sorted(found.items()) if name not in set(without)]
    return sha256("\n".join(lines).encode()).hexdigest()


def write_adapter(
    path: Path, state: Mapping[str, Tensor], names: Iterable[str], hparams: dict[str, Any], base: str
) -> None:
    """Write some of a module's tensors, with what is needed to put them back in place.

    Args:
        path: file to write; it appears once whole.
        state: the module's tensors.
        names: those to write.
        hparams: the module's hyper-parameters, plain data.
        base: `base_digest` of the others.
    """
    tensors = {name: state[name].detach().cpu().contiguous().clone() for name in names}
    with whole(path) as partial:  # not by save_file, whose files only their owner may read
        partial.write_bytes(save(tensors, metadata={_HPARAMS: json.dumps(hparams), _BASE: base}))


def load_adapter(path: str | Path, **kwargs: Any) -> "TransferModule":
    """Rebuild a module: its base from where the hyper-parameters say, what was trained from an adapter's file.

    Args:
        path: file written by `AdapterCheckpoint`.
        kwargs: arguments that replace those in the file, a `backbone` or `source` whose weights have moved elsewhere for example.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no adapter, the base's weights cannot be had, or they are not those that it was trained on.
    """
    tensors, metadata = _read(Path(path))
    hparams = json.loads(metadata[_HPARAMS])
    arguments = hparams | kwargs
    try:
        module: TransferModule = rebuild(hparams, kwargs)
    except ValueError as error:  # jsonargparse packs a part's own complaint into its tree of alternatives
        raise ValueError(f"the base of the adapter {str(path)!r} cannot be built: {sentence(error)}") from error
    state = module.state_dict()
    found = digests({name: tensor for name, tensor in state.items() if name not in tensors})
    foreign = [name for name in tensors if name not in state or state[name].shape != tensors[name].shape]
    if foreign or base_digest(found, tensors) != metadata[_BASE]:
        raise ValueError(
            f"the adapter {str(path)!r} was trained on another base than {_source(arguments)}; "
            f"give the weights that it started from: load_adapter(path, {_argument(arguments)}=...). Random ones do not come back: keep "
            "the checkpoint"
        )
    module.load_state_dict(tensors, strict=False)
    return module


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"adapter {str(path)!r} is no file; AdapterCheckpoint writes adapter.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dictionary
    except SafetensorError as error:
        raise ValueError(f"adapter {str(path)!r} cannot be read: it is torn, or of another kind ({error})") from error
    if not {_HPARAMS, _BASE} <= set(metadata):
        raise ValueError(f"{str(path)!r} holds tensors, but is no adapter; give a file written by AdapterCheckpoint")
    return tensors, metadata


def _argument(arguments: Mapping[str, Any]) -> str:
    """The argument that the base comes by."""
    return next((name for name in ("source", "image_text", "model") if name in arguments), "backbone")


def _source(arguments: Mapping[str, Any]) -> str:
    """The base as a reader knows it: name and where its weights come from."""
    argument = _argument(arguments)
    base = arguments.get(argument)
    if isinstance(base, Mapping):
        given = base.get("init_args", {})
        return ", ".join(f"{key}={given[key]!r}" for key in ("name", "pretrained", "path") if key in given)
    return f"{argument}={base!r}" if isinstance(base, str) else f"the given {type(base).__name__}"
