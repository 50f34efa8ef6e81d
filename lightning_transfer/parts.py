"""Parts that remember what they were made with, so that a checkpoint can hold them as plain data."""

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any


class Part:
    """Base of everything that a configuration can name: it records the arguments of its constructor in `init_args`."""

    init_args: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        # object's own setter: torch's would register modules among the arguments as children, before its own __init__ has run
        object.__setattr__(self, "init_args", _bind(cls, args, kwargs))
        return self


def _bind(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    try:
        bound = signature.bind_partial(None, *args, **kwargs)
    except TypeError:  # __init__ itself is about to say which argument is wrong
        return {}
    bound.apply_defaults()
    recorded: dict[str, Any] = {}
    for name, parameter in list(signature.parameters.items())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            recorded |= bound.arguments.get(name, {})
        elif parameter.kind is not parameter.VAR_POSITIONAL and name in bound.arguments:
            recorded[name] = bound.arguments[name]
    return recorded


class UndescribableError(ValueError):
    """Raised for a value that plain data cannot rebuild; `path` says where among the arguments it stands."""

    def __init__(self, path: str, value: object) -> None:
        super().__init__(
            f"{path}={type(value).__module__}.{type(value).__qualname__} cannot be rebuilt from plain data"
        )
        self.path = path


def describe(value: Any, path: str = "value") -> Any:
    """Turn an argument into plain data: numbers, strings, lists, dictionaries and `{class_path, init_args}`.

    Args:
        value: plain data, a `Part`, a class, a `functools.partial` of a class, or a dataclass or container of these.
        path: the argument's name, for the error.

    Raises:
        UndescribableError: for anything else, a module that is not ours for example.

    Example:
        >>> from functools import partial
        >>> from fractions import Fraction
        >>> describe({"rate": 0.1, "make": partial(Fraction, denominator=3)})
        {'rate': 0.1, 'make': {'class_path': 'fractions.Fraction', 'init_args': {'denominator': 3}}}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [describe(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): describe(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, type):
        return {"class_path": _import_path(value, path), "init_args": {}}
    if isinstance(value, partial) and (made := _class_of(value)) is not None:
        return {"class_path": _import_path(made, path), "init_args": describe(value.keywords, path)}
    if is_dataclass(value):
        return {field.name: describe(getattr(value, field.name), f"{path}.{field.name}") for field in fields(value)}
    if isinstance(value, Part):
        return {"class_path": _import_path(type(value), path), "init_args": describe(value.init_args, path)}
    raise UndescribableError(path, value)


def _class_of(factory: "partial[Any]") -> type | None:
    """The class that a partial makes instances of, by keywords alone; jsonargparse hands it to functions of its own that call it."""
    *callers, made = factory.func, *factory.args
    if isinstance(made, type) and all(
        getattr(caller, "__module__", "").startswith("jsonargparse") for caller in callers
    ):
        return made
    return None


def _import_path(cls: type, path: str) -> str:
    if (
        "<" in cls.__qualname__ or cls.__module__ == "__main__"
    ):  # a local class, or one of a script: not importable later
        raise UndescribableError(path, cls)
    return f"{cls.__module__}.{cls.__qualname__}"
