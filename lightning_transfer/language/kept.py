"""Checkpoints without what a frozen language model brings along anyway: its source is read again, and has to be the same."""

import re
from collections.abc import Mapping
from hashlib import sha256
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from lightning_transfer.errors import sentence
from lightning_transfer.hashes import mark, of_marks
from lightning_transfer.language.load import load
from lightning_transfer.language.model import LanguageModel

_RECORD = "left_out"
_PLACE = "model.backbone."  # so begin the names of a module's language model
_STATES = ("state_dict", "current_model_state")  # with a moving average there are two
_TOKENIZER = "_extra_state"  # as torch names it
_INSERTED = re.compile(r"\.base_layer(?=\.)")  # what a LoRA puts between a layer and its weights

_marks: "WeakKeyDictionary[nn.Module, dict[str, str]]" = WeakKeyDictionary()  # of the source of each language model


def leave_out_frozen(checkpoint: dict[str, Any], module: nn.Module) -> None:
    """Take those frozen tensors of a language model, and the tokenizer, out of a checkpoint that are bit by bit what its source holds.

    The source is read again for it, once a run, so that a checkpoint never relies on what is no longer there. Whatever is trained, was
    trained, moved or merged is kept; of a model of random weights, or one that was given as it is, everything.

    Args:
        checkpoint: about to be written; changed in place.
        module: whose `model.backbone` may be a language model; others are kept whole.
    """
    backbone = _language_model(module)
    if backbone is None:
        return
    states = [checkpoint[key] for key in _STATES if key in checkpoint]
    trains = {name: p.requires_grad for name, p in module.named_parameters(remove_duplicate=False)}
    names = [name for name in states[0] if name.startswith(_PLACE) and not trains.get(name, False)]
    source = _source_marks(backbone) if any(name in trains for name in names) else {}
    left = [name for name in names if all(_mark(state[name]) == source.get(_in_source(name)) for state in states)]
    if not any(name in trains for name in left):  # a tokenizer or buffers alone are not worth needing the source for
        return
    for state in states:
        for name in left:
            del state[name]
    checkpoint[_RECORD] = {
        "names": left,
        "name": backbone.init_args["name"],
        "sha256": of_marks({_in_source(name): source[_in_source(name)] for name in left}),
    }


def restore_frozen(checkpoint: dict[str, Any], module: nn.Module) -> None:
    """Put back what was left out of a checkpoint: from the module's own language model if it has read the source, else from the source.

    Args:
        checkpoint: just read; changed in place. One from which nothing was left out stays as it is.
        module: about to be loaded, with a language model of the same architecture as its `model.backbone`.

    Raises:
        ValueError: if the weights are others than were left out, or cannot be had.
    """
    record = checkpoint.get(_RECORD)
    states = [checkpoint[key] for key in _STATES if key in checkpoint]
    if record is None or not (missing := [name for name in record["names"] if name not in states[0]]):
        return
    backbone = _language_model(module)
    if backbone is None:
        raise ValueError(
            f"the checkpoint was written without the weights of a language model, {record['name']!r}, and here is none"
        )
    held: dict[str, Any] = dict(
        chain(module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))
    )
    if backbone.tokenizer is not None:
        held[_PLACE + _TOKENIZER] = backbone.get_extra_state()
    own = {_in_source(name): held[name] for name in record["names"] if name in held}
    found = own if _are(own, record) else _read_again(backbone, record)
    for state in states:
        state.update({name: found[_in_source(name)] for name in missing})


def _read_again(backbone: LanguageModel, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the source holds by the names there, if it is what a checkpoint left out."""
    name = str(backbone.init_args.get("name") or record["name"])
    try:
        found = _source_of(name, backbone)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise ValueError(
            f"the checkpoint was written without the frozen weights of the language model {record['name']!r}, which cannot be read again: "
            f"{sentence(error)}"
        ) from error
    wanted = {_in_source(key) for key in record["names"]}
    if not _are({key: value for key, value in found.items() if key in wanted}, record):
        raise ValueError(
            f"the checkpoint was written without the frozen weights of the language model {record['name']!r}, and those of {name!r} are "
            f"others now (recorded sha256 {record['sha256'][:12]}...); bring back those that it was trained on, or give them as "
            "model=LanguageModel(name=...)"
        )
    return found


def _are(found: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    return of_marks({name: _mark(value) for name, value in found.items()}) == str(record["sha256"])


def _mark(value: Any) -> str:
    return mark(value) if isinstance(value, Tensor) else sha256(str(value).encode()).hexdigest()


def _source_marks(backbone: LanguageModel) -> dict[str, str]:
    """Marks of what the source holds by the names there; none where there is no source to be read again."""
    if backbone not in _marks and (name := backbone.init_args.get("name")):
        try:
            found = _source_of(name, backbone)
        except (OSError, ValueError, ModuleNotFoundError):  # it came with a checkpoint, and is kept like that
            found = {}
        _marks[backbone] = {key: _mark(value) for key, value in found.items()}
    return _marks.get(backbone, {})


def _source_of(name: str, backbone: LanguageModel) -> dict[str, Any]:
    """Weights and tokenizer of a source, by the names of the weights there."""
    arguments = backbone.init_args
    loaded = load(name, arguments.get("kind", "auto"), arguments.get("dtype", "float32"))
    return {**loaded.model.state_dict(), _TOKENIZER: str(loaded.tokenizer.to_str())}


def _in_source(name: str) -> str:
    """The name of a weight in the source by its name in a module."""
    return _INSERTED.sub("", name.removeprefix(_PLACE).removeprefix("model."))


def _language_model(module: nn.Module) -> LanguageModel | None:
    found = getattr(getattr(module, "model", None), "backbone", None)
    return found if isinstance(found, LanguageModel) else None
