"""Packages that an extra brings, imported where they are needed."""

from importlib import import_module
from typing import Any


def load_extra(extra: str, reason: str, *packages: str) -> Any:
    """Import packages, and return the first.

    Args:
        extra: that installs them.
        reason: who needs which, such as `LoRA needs peft`.
        packages: their names in Python.

    Raises:
        ModuleNotFoundError: with the reason, and how to install them.
    """
    try:
        first, *_ = [import_module(package) for package in packages]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f'{reason}: pip install "lightning_transfer[{extra}]" ({error})') from error
    return first
