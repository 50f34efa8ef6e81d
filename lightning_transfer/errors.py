"""Errors are for people: which are meant for them, and how they read on the command line."""

import difflib
import inspect
import os
import re
from importlib import import_module
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException

_PACKAGE = str(Path(__file__).parent)
_UNION = "Does not validate against any of the Union subtypes"  # so begins jsonargparse's tree of complaints
_NOISE = (
    "Does not validate",
    "Subtypes",
    "Errors",
    "Given value",
    "Expected a <class",
    "Problem with given class_path",
    "Parser key",
)
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


def explain_parse_error(message: str) -> str:
    """Take the innermost complaint out of jsonargparse's tree of them, and name the nearest key where one is misspelt."""
    lines = [line.strip(" -") for line in message.splitlines()]
    for line in lines:
        if match := re.search(r"Option '([\w.]+)' is not accepted", line):
            return _misspelt(match[1], message)
    if match := re.search(r"[Kk]ey ['\"]([\w.]+)['\"] is not expected", message) or re.search(
        r"Unrecognized arguments: (.+)", message
    ):
        return f"{match[0]}; `lightning-transfer fit --help` lists all keys"
    wanted = list(dict.fromkeys(line for line in lines if line and not line.startswith(_NOISE)))
    return "\n  ".join(wanted) or message


def _misspelt(key: str, message: str) -> str:
    owners = re.findall(r"class_path '([\w.]+)'", message)
    if not owners:
        return f"{key!r} is no key; `lightning-transfer fit --help` lists all"
    module, _, name = owners[-1].rpartition(".")
    known = [*inspect.signature(getattr(import_module(module), name)).parameters]
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
    return f"{name} has no argument {key!r}; {hint}"
