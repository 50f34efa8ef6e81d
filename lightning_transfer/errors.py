"""Errors are for people: which are meant for them, and how they read on the command line."""

import difflib
import inspect
import os
import re
from importlib import import_module
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException

from lightning_transfer.parts import Part

_PACKAGE = str(Path(__file__).parent)
_UNION = "Does not validate against any of the Union subtypes"  # so begins jsonargparse's tree of complaints
_NOISE = (
    "Does not validate",
    "Subtypes",
    "Errors",
    "Given value",
    "Problem with given class_path",
    "Parser key",
    "Expected a",
    "Type collections.abc.Callable",
)
_BASES = {
    "LightningDataModule": "data",
    "TransferModule": "model",
}  # what a flag is taken for as long as no class is named
_MEANT = (ValueError, FileNotFoundError, ModuleNotFoundError, NotADirectoryError, MisconfigurationException)


def is_for_people(error: BaseException) -> bool:
    """Whether an error is a sentence of ours about the input, and not a fault to be traced.

    It is if we raised it ourselves, here or in a data worker; `LIGHTNING_TRANSFER_DEBUG=1` asks for every traceback.
    """
    if os.environ.get("LIGHTNING_TRANSFER_DEBUG") or not isinstance(error, _MEANT):
        return False
    message = str(error)
    if isinstance(error, MisconfigurationException) or "in DataLoader worker process" in message or _UNION in message:
        return True
    return _is_ours(error) or _is_ours(error.__cause__)


def _is_ours(error: BaseException | None) -> bool:
    frame = error.__traceback__ if error is not None else None
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and frame.tb_frame.f_code.co_filename.startswith(_PACKAGE)


def sentence(error: BaseException) -> str:
    """Take an error's message, without the traceback that a data worker packs into it."""
    message = str(error)
    if "in DataLoader worker process" in message:
        message = re.split(r"\n\w[\w.]*(?:Error|Exception): ", message)[-1].strip()
    if _UNION in message:
        return explain_parse_error(message)
    if not _is_ours(error) and _is_ours(error.__cause__):  # a link between arguments failed, in a function of ours
        return str(error.__cause__)
    return message


def explain_parse_error(message: str, command: str = "fit") -> str:
    """Take the innermost complaint out of jsonargparse's tree of them, and name the nearest key or class where one is misspelt.

    Args:
        message: jsonargparse's.
        command: whose `--help` lists the keys.
    """
    owners = re.findall(r"class_path '([\w.]+)'", message)
    if match := re.search(r"arguments are required: (.+)", message):
        return _required(match[1], owners)
    if match := re.search(r"Option '([\w.]+)' is not accepted", message):
        return _misspelt(match[1], owners)
    if match := re.search(r"Expected a dot import path string: (\S+)", message):
        near = difflib.get_close_matches(match[1], _class_names(Part), n=1)
        return f"{match[1]!r} names no class; " + (
            f"did you mean {near[0]!r}?" if near else "give its path, package.Class"
        )
    if match := re.search(r"but (\S+) is abstract", message):
        return _class_first(match[1].rpartition(".")[2], "KEY")
    if match := re.search(r"[Kk]ey ['\"]([\w.]+)['\"] is not expected|[Uu]nrecognized arguments: .+", message):
        return f"{match[0]}; `lightning-transfer {command} --help` lists all keys"
    lines = [line.strip(" -") for line in message.splitlines()]
    wanted = list(dict.fromkeys(line for line in lines if line and not line.startswith(_NOISE)))
    return "\n  ".join(wanted) or _wrong_value(message)


def _required(keys: str, owners: list[str]) -> str:
    if owners:
        return f"{owners[-1].rpartition('.')[2]} needs {keys}"
    if "." not in keys:  # of a command that is a function
        return f"{', '.join(f'--{key}' for key in keys.split(', '))} must be given"
    command = keys.partition(".")[0]
    missing = keys.replace(f"{command}.", "--")
    if command == "fit":
        return f"fit needs {missing}: name a configuration (--config finetune/digits), or the classes (--model FinetuneModule --data FakeData)"
    return (
        f"{command} needs {missing}: name a checkpoint, which brings them along (--ckpt_path runs/NAME/TIME/best.ckpt)"
    )


def _misspelt(key: str, owners: list[str]) -> str:
    if not owners:
        return f"{key!r} is no key; `lightning-transfer fit --help` lists all"
    module, _, name = owners[-1].rpartition(".")
    if name in _BASES:
        return _class_first(name, key)
    known = _arguments(getattr(import_module(module), name))
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
    return f"{name} has no argument {key!r}; {hint}"


def _class_first(base: str, key: str) -> str:
    flag = f"--{_BASES.get(base, base)}"
    return f"{flag}.{key} comes before any class that could take it; put {flag} CLASS, or --config, in front of it"


def _arguments(cls: type) -> list[str]:
    """Names of a constructor's arguments; where it takes any others, those of its base class as well."""
    parameters = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    names = [
        p.name for p in parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name != "self"
    ]
    passed_on = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return names + (_arguments(cls.__mro__[1]) if passed_on and cls.__mro__[1] is not object else [])


def _class_names(base: type) -> list[str]:
    children: list[type] = base.__subclasses__()
    return [name for child in children for name in (child.__name__, *_class_names(child))]


def _wrong_value(message: str) -> str:
    """Say of which key the value is of a wrong type; of nested alternatives the innermost count."""
    expected = re.findall(r"( *).*Expected an? (.+?)(?:\. Got value.*)?$", message, re.MULTILINE)
    value = re.search(r"(?:Got|Given) value: (.+?)(?:\. Got value.*)?$", message, re.MULTILINE)
    if not expected or value is None:
        return message
    deepest = max(len(indent) for indent, _ in expected)
    types = [re.sub(r"<class '(\w+)'>|typing\.", r"\1", kind) for indent, kind in expected if len(indent) == deepest]
    key = ".".join(re.findall(r'Parser key "([\w.]+)"', message))
    return f"{key}={value[1]} is of the wrong type; it takes {' or '.join(types)}".replace("NoneType", "null")
