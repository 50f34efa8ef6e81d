"""Templates by the name of their list, or given outright."""

from collections.abc import Sequence
from pathlib import Path

from lightning_transfer.templates.template import fill, places, unescaped

PLACE = "{}"
_FOLDER = Path(__file__).parent


def list_names() -> list[str]:
    """Names of the lists that the package brings."""
    return sorted(path.stem for path in _FOLDER.glob("*.txt"))


def read_templates(templates: str | Sequence[str], must: Sequence[str] = ("",), may: Sequence[str] = ()) -> list[str]:
    r"""Templates of a list.

    Args:
        templates: the name of a list that the package brings; a text file with one template a line, `\n` for the end of a line within one, and
            remarks after #; one template; or several.
        must: what each template has a place for; "" is that of `{}`, the class's name.
        may: what else they may have a place for.

    Raises:
        ValueError: for no templates, one without its place or with an unknown one, one that is given twice, or a list that is not there.

    Example:
        >>> read_templates("single")
        ['a photo of a {}.']
        >>> read_templates("{text} It was {label}.", must=(), may=("text", "label"))
        ['{text} It was {label}.']
    """
    if isinstance(templates, str):
        templates = [templates] if "{" in templates else _read(templates)
    found = [template.strip(" ") for template in templates if template.strip()]
    if not found:
        raise ValueError("templates=[] holds no template; 'a photo of a {}.' is one, single the list of it")
    for template in found:
        _check(template, must, may)
    if twice := [template for template in found if found.count(template) > 1]:
        raise ValueError(f"templates: {twice[0]!r} is given twice, and would count twice; leave one out")
    return found


def _check(template: str, must: Sequence[str], may: Sequence[str]) -> None:
    named = places(template)
    for name in must:
        if named.count(name) != 1:
            where = "the class's name is put: 'a photo of a {}.'" if name == "" else f"{name} is put"
            raise ValueError(f"templates: {template!r} must hold {{{name}}} once, where {where}")
    known = [*must, *may]
    if unknown := [name for name in named if name not in known]:
        raise ValueError(
            f"templates: {template!r} has a place for {{{unknown[0]}}}, but there is {', '.join(f'{{{name}}}' for name in known)}; "
            "braces that are meant as such are doubled"
        )
    if not [name for name in named if name != "label"]:
        raise ValueError(
            f"templates: {template!r} shows nothing of a sample; there is {', '.join(f'{{{name}}}' for name in known)}"
        )


def _read(name: str) -> list[str]:
    path = Path(name) if name.endswith(".txt") else _FOLDER / f"{name}.txt"
    if not path.is_file():
        raise ValueError(
            f"templates={name!r} names no list; there are {', '.join(list_names())}, a file ending in .txt, or templates outright: "
            f"'a photo of a {PLACE}.'"
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    return [unescaped(line) for line in lines if not line.startswith("#")]


def sentences(names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every name in every template, those of a name side by side; underscores of names become spaces.

    Example:
        >>> sentences(["cat", "sea_lion"], ["a {}", "the {}"])
        ['a cat', 'the cat', 'a sea lion', 'the sea lion']
    """
    words = [name.replace("_", " ") for name in names]
    return [fill(template, {"": word}) for word in words for template in templates]
