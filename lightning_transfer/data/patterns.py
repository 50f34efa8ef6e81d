"""Words and what becomes of them: tasks that a few examples explain."""

from pathlib import Path
from typing import Any

import torch

from lightning_transfer.contracts import TextRows
from lightning_transfer.data.text import TextData

_FOLDER = Path(__file__).parent / "patterns"
_ARROW = " => "


class PatternData(TextData):
    """Pairs of words, the field `word` and a free answer, all by one pattern: its plural, its opposite, the capital of a country, ...

    Args:
        pattern: antonym, capital (of a country), french, past (tense), plural, spanish or upper (capitals), or a file ending in `.txt`
            with a pair a line: `word => answer`.
        val_fraction: share of the pairs that are not for the test used for validation; a half leaves a quarter of all for training.
        test_fraction: share of all pairs used for the test.
        kwargs: as for `TextData`.

    Raises:
        FileNotFoundError: if there is no such pattern.
        ValueError: for a line of a file that is no pair, or a word that is there twice.

    Example:
        >>> rows = PatternData("plural").sources()["train"]
        >>> rows.fields[0], rows.answer[0]
        ({'word': 'cat'}, 'cats')
    """

    task = "generation"

    def __init__(self, pattern: str, val_fraction: float = 0.5, test_fraction: float = 0.5, **kwargs: Any) -> None:
        super().__init__(val_fraction=val_fraction, test_fraction=test_fraction, **kwargs)
        self.pattern = pattern
        self.inputs = ["word"]

    @property
    def class_names(self) -> list[str]:
        return []

    def sources(self) -> dict[str, TextRows]:
        path = Path(self.pattern) if self.pattern.endswith(".txt") else _FOLDER / f"{self.pattern}.txt"
        if not path.is_file():
            raise FileNotFoundError(
                f"data.pattern={self.pattern!r} names no list; there are {', '.join(pattern_names())}, and files ending in .txt"
            )
        pairs = _read(path)
        names = [f"{self.pattern}/{i + 1}" for i in range(len(pairs))]
        fields = [{"word": word} for word in pairs]
        return {"train": TextRows(fields, torch.full((len(pairs),), -1), list(pairs.values()), names)}


def pattern_names() -> list[str]:
    """Patterns that the package brings."""
    return sorted(path.stem for path in _FOLDER.glob("*.txt"))


def _read(path: Path) -> dict[str, str]:
    """Answers by word."""
    pairs: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        word, _, answer = (part.strip() for part in line.partition(_ARROW))
        if not word or not answer:
            raise ValueError(f"{path}, line {number}: {line!r} is no pair; write word{_ARROW}answer")
        if word in pairs:
            raise ValueError(f"{path}, line {number}: {word!r} is there twice; leave one out")
        pairs[word] = answer
    return pairs
