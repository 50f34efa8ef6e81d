"""Templates by the name of their list, or given outright; and the names put into them."""

from collections.abc import Sequence
from pathlib import Path

PLACE = "{}"
_FOLDER = Path(__file__).parent


def list_names() -> list[str]:
    """Names of the lists that the package brings."""
    return sorted(path.stem for path in _FOLDER.glob("*.txt"))


def read_templates(templates: str | Sequence[str]) -> list[str]:
    """Templates of a list.

    Args:
        templates: the name of a list that the package brings; a text file with one template a line, and remarks after #; one template; or several.

    Raises:
        ValueError: for no templates, one without a place for the name, one that is given twice, or a list that is not there.

    Example:
        >>> read_templates("single")
        ['a photo of a {}.']
    """
    if isinstance(templates, str):
        templates = [templates] if PLACE in templates else _read(templates)
    found = [template.strip() for template in templates if template.strip()]
    if not found:
        raise ValueError("templates=[] holds no template; 'a photo of a {}.' is one, single the list of it")
    if without := [template for template in found if template.count(PLACE) != 1]:
        raise ValueError(
            f"templates: {without[0]!r} must hold {PLACE} once, where the class's name is put: 'a photo of a {PLACE}.'"
        )
    if twice := [template for template in found if found.count(template) > 1]:
        raise ValueError(f"templates: {twice[0]!r} is given twice, and would count twice; leave one out")
    return found


def _read(name: str) -> list[str]:
    path = Path(name) if name.endswith(".txt") else _FOLDER / f"{name}.txt"
    if not path.is_file():
        raise ValueError(
            f"templates={name!r} names no list; there are {', '.join(list_names())}, a file ending in .txt, or templates outright: "
            f"'a photo of a {PLACE}.'"
        )
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def sentences(names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every name in every template, those of a name side by side; underscores of names become spaces.

    Example:
        >>> sentences(["cat", "sea_lion"], ["a {}", "the {}"])
        ['a cat', 'the cat', 'a sea lion', 'the sea lion']
    """
    words = [name.replace("_", " ") for name in names]
    return [template.replace(PLACE, word) for word in words for template in templates]
