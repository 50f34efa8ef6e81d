"""A template is a format string whose places are named by fields; `{label}` is where the answer belongs."""

from collections.abc import Iterator, Mapping
from string import Formatter

LABEL = "label"


def places(template: str) -> list[str]:
    """Names of a template's places in their order, "" for `{}`.

    Raises:
        ValueError: for a brace that opens or closes nothing, or a place with more than a name.

    Example:
        >>> places("{premise}? {label}, {hypothesis}")
        ['premise', 'label', 'hypothesis']
    """
    return [name for _, name in _parts(template) if name is not None]


def fields_of(template: str) -> list[str]:
    """The places of a template but that of the answer."""
    return [name for name in places(template) if name != LABEL]


def read_template(template: str) -> str:
    r"""A template of texts; `\n` in it, as a command line has it, is the end of a line.

    Raises:
        ValueError: for one that shows nothing of a sample, or has two places for the answer.
    """
    template = unescaped(template)
    named = places(template)
    if not fields_of(template):
        raise ValueError(
            f"template={template!r} shows nothing of a sample; put a field of the data into it, {{text}} for example"
        )
    if "" in named:
        raise ValueError(
            f"template={template!r} has a place without a name; name a field of the data, {{text}} for example"
        )
    if named.count(LABEL) > 1:
        raise ValueError(
            f"template={template!r} has {named.count(LABEL)} places for {{{LABEL}}}; the answer stands once"
        )
    return template


def unescaped(text: str) -> str:
    """A text whose ends of lines were typed as a backslash and an n."""
    return text.replace("\\n", "\n")


def halves(template: str) -> tuple[str, str]:
    r"""What stands before and behind the answer's place, which is behind a space at the end if not said.

    Example:
        >>> halves("{text} It was {label}.")
        ('{text} It was ', '.')
        >>> halves("{text} It was")
        ('{text} It was ', '')
    """
    if LABEL not in places(template):
        return template if template[-1:].isspace() else f"{template} ", ""
    found = ["", ""]
    side = 0
    for text, name in _parts(template):
        found[side] += text.replace("{", "{{").replace("}", "}}")
        if name == LABEL:
            side = 1
        elif name is not None:
            found[side] += f"{{{name}}}"
    return found[0], found[1]


def fill(template: str, fields: Mapping[str, str], label: str | None = None) -> str:
    """Put a sample's fields, and an answer, into their places.

    Args:
        template: with places for some of the fields.
        fields: by name.
        label: the answer; with it a template without a place for it ends in it.

    Raises:
        ValueError: for a place that no field fills.

    Example:
        >>> fill("{text} It was {label}.", {"text": "No joke."}, "bad")
        'No joke. It was bad.'
    """
    if label is not None and LABEL not in places(template):
        template = halves(template)[0] + f"{{{LABEL}}}"
    filled = dict(fields) if label is None else {**fields, LABEL: label}
    found = []
    for text, name in _parts(template):
        if name is not None and name not in filled:
            raise ValueError(f"template={template!r} has a place for {{{name}}}, but there is {', '.join(filled)}")
        found.append(text + ("" if name is None else filled[name]))
    return "".join(found)


def _parts(template: str) -> Iterator[tuple[str, str | None]]:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"template={template!r}: {error}; braces that are meant as such are doubled") from error
    for text, name, options, conversion in parts:
        if options or conversion or (name and not name.isidentifier()):
            raise ValueError(
                f"template={template!r}: a place holds a field's name and nothing else, but {name!r} is one"
            )
        yield text, name
