"""Answers that are all, or the first line, of what was said."""

from lightning_transfer.extraction.base import Extraction


class WholeText(Extraction):
    """All that was said, without space around it; nothing is no answer."""

    def __call__(self, text: str) -> str | None:
        return text.strip() or None


class FirstLine(Extraction):
    r"""The first line that says something.

    Example:
        >>> FirstLine()("\n cats\ndog => dogs")
        'cats'
    """

    def __call__(self, text: str) -> str | None:
        lines = text.strip().splitlines()
        return lines[0].strip() if lines else None
