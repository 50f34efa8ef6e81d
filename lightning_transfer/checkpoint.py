"""A checkpoint is data: what goes into it, and what is checked before anything named in it is imported or built."""

import importlib
import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters

from lightning_transfer.files import whole
from lightning_transfer.parts import UndescribableError, describe

TRUST_VARIABLE = "LIGHTNING_TRANSFER_TRUST"
_ALLOWED = ("lightning_transfer", "lightning", "torch", "torchvision", "torchmetrics", "timm")
_UNSAVED = "__unsaved__"
_OF_TRAINING = ("optimizer_states", "lr_schedulers", "loops", "callbacks")  # they belong to the parameters as they were
_skip_pretrained: ContextVar[bool] = ContextVar("skip_pretrained", default=False)


@contextmanager
def weights_from_checkpoint() -> Iterator[None]:
    """Within this context backbones start from random weights: a checkpoint is about to replace them."""
    token = _skip_pretrained.set(True)
    try:
        yield
    finally:
        _skip_pretrained.reset(token)


def expects_checkpoint() -> bool:
    """Whether the weights of what is being built come from a checkpoint."""
    return _skip_pretrained.get()


def save_init_args(module: Any) -> None:
    """Store the constructor's arguments of a module or datamodule as hyper-parameters that are plain data.

    From the command line Lightning hands over the configuration itself. From Python each argument is described; one that
    cannot be is named, and loading asks for it.

    Args:
        module: a LightningModule or LightningDataModule that is a `Part`.
    """
    # Lightning stops where module and data log one name with two values; the command line sends its whole configuration anyway
    logged = isinstance(module, LightningModule)
    if _given_hyperparameters.get() is not None:
        module.save_hyperparameters(logger=logged)
        return
    hparams: dict[str, Any] = {}
    for name, value in module.init_args.items():
        try:
            hparams[name] = describe(value, name)
        except UndescribableError as error:
            hparams[name] = {_UNSAVED: f"{type(value).__module__}.{type(value).__qualname__}", "at": error.path}
    hparams["_class_path"] = f"{type(module).__module__}.{type(module).__qualname__}"
    hparams["_instantiator"] = "lightning.pytorch.cli.instantiate_module"
    module.save_hyperparameters(hparams, logger=logged)


def rebuild(hparams: Mapping[str, Any], replacing: Mapping[str, Any] | None = None) -> Any:
    """Build a module of its hyper-parameters, without its weights.

    Args:
        hparams: of a checkpoint or an adapter; the command line's also hold what it links to modules that take no such argument.
        replacing: arguments that stand in for those recorded.

    Raises:
        ValueError: for classes that may not be imported, or arguments that nothing recorded and nobody gives.
    """
    from lightning.pytorch.cli import instantiate_module

    check_hyperparameters(hparams, replacing)
    made = import_class(hparams["_class_path"])
    known = inspect.signature(made).parameters
    given = {name: value for name, value in hparams.items() if name in known}
    return instantiate_module(made, given | dict(replacing or {}))


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Open a checkpoint on the CPU, without unpickling anything but tensors and plain data.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no checkpoint of Lightning.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"ckpt_path={str(path)!r} is no file; a run's folder holds best.ckpt and last.ckpt")
    if not is_zipfile(path):
        raise ValueError(f"ckpt_path={str(path)!r} cannot be read as a checkpoint: it is torn, or of another kind")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises a dozen types for files that are not its own
        raise ValueError(
            f"ckpt_path={str(path)!r} cannot be read as a checkpoint: {str(error).splitlines()[0]}"
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint or "hyper_parameters" not in checkpoint:
        raise ValueError(
            f"ckpt_path={str(path)!r} holds no state_dict and hyper_parameters; give a checkpoint written by fit"
        )
    return checkpoint


def write_changed(checkpoint: Mapping[str, Any], path: Path, **changes: Any) -> None:
    """Write a checkpoint with other weights, without the state of a training that these have not been through.

    Args:
        checkpoint: as it was read.
        path: where to.
        changes: what is put in place of its entries.
    """
    kept = {key: value for key, value in checkpoint.items() if key not in _OF_TRAINING}
    with whole(path) as partial:
        torch.save(kept | changes, partial)


def check_hyperparameters(hparams: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> None:
    """Refuse hyper-parameters that would import code outside the trusted packages, or that lack an argument.

    Args:
        hparams: hyper-parameters as read from a checkpoint.
        given: arguments that the caller passes instead.

    Raises:
        ValueError: naming the class and how to trust its package, or the argument to give.
    """
    given = given or {}
    for name, value in hparams.items():
        if isinstance(value, Mapping) and _UNSAVED in value and name not in given:
            raise ValueError(
                f"the checkpoint was made with {name}={value[_UNSAVED]} ({value['at']}), which plain data cannot rebuild; "
                f"pass it again: load_from_checkpoint(path, {name}=...)"
            )
    for path in _class_paths(hparams):
        import_class(path)


def import_class(path: str) -> Any:
    """Import what a dotted path names, if its package is trusted.

    Args:
        path: such as `torchvision.datasets.MNIST`.

    Raises:
        ValueError: for a package that is not trusted, or a name that does not exist.
    """
    module_path, _, name = path.rpartition(".")
    root = path.partition(".")[0]
    trusted = (*_ALLOWED, *filter(None, os.environ.get(TRUST_VARIABLE, "").split(",")))
    if root not in trusted:
        raise ValueError(
            f"{path!r} lies outside the packages that may be loaded by name ({', '.join(trusted)}); "
            f"if you trust it, set {TRUST_VARIABLE}={root}"
        )
    try:
        return getattr(importlib.import_module(module_path), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{path!r} cannot be imported: {error}") from error


def _class_paths(value: Any) -> Iterator[str]:
    """All paths that building `value` would import: of classes, and of functions where an argument takes a callable."""
    if isinstance(value, Mapping):
        path = value.get("class_path", value.get("_class_path"))
        if isinstance(path, str):
            yield path
            arguments = value.get("init_args") or {
                k: v for k, v in value.items() if k not in ("class_path", "_class_path")
            }
            yield from _function_paths(import_class(path), arguments)
        for item in value.values():
            yield from _class_paths(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _class_paths(item)


def _function_paths(owner: Any, arguments: Mapping[str, Any]) -> Iterator[str]:
    parameters = inspect.signature(owner).parameters
    for name, value in arguments.items():
        if isinstance(value, str) and name in parameters and "Callable" in str(parameters[name].annotation):
            yield value
