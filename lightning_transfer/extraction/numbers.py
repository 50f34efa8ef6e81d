"""Answers that are numbers."""

import re
from decimal import Decimal

from lightning_transfer.extraction.base import Extraction

# A minus behind a number or a word is none of its own: "10-3", "pages 12-15".
_SIGN = r"(?:(?<![\w.)])[-\u2212]\$?|\$?(?<![\w.)])[-\u2212]|\$)?"
_NUMBER = rf"{_SIGN}(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.\d+)?|{_SIGN}\.\d+"


class LastNumber(Extraction):
    """The last number that was said.

    Reference:
        `flexible-extract` of the Language Model Evaluation Harness (Gao et al. 2021).

    Example:
        >>> LastNumber()("2 cans of 3 are 6. Together that makes $1,011.50.")
        '1011.5'
    """

    def __call__(self, text: str) -> str | None:
        found = re.findall(_NUMBER, text)
        return plain(found[-1]) if found else None


class AnswerPhrase(Extraction):
    """The number behind the first "The answer is": what follows that may be another question.

    Args:
        phrase: in front of the number, in capitals or not.

    Reference:
        Wei et al., "Chain-of-Thought Prompting Elicits Reasoning in Large Language Models", NeurIPS 2022.

    Example:
        >>> AnswerPhrase()("5 + 6 = 11. The answer is 11.")
        '11'
        >>> AnswerPhrase()("5 + 6 = 11.") is None
        True
    """

    def __init__(self, phrase: str = "The answer is") -> None:
        if not phrase.strip():
            raise ValueError("phrase='' stands before no number; LastNumber takes the last one")
        self.phrase = phrase

    def __call__(self, text: str) -> str | None:
        found = re.search(rf"{re.escape(self.phrase.strip())}\s*:?\s*({_NUMBER})", text, re.IGNORECASE)
        return plain(found[1]) if found else None


def plain(number: str) -> str:
    """A number without currency, commas and needless zeros.

    Example:
        >>> plain("$1,234.50"), plain("-3.0"), plain("100")
        ('1234.5', '-3', '100')
    """
    bare = number.replace(",", "").replace("$", "").replace("\u2212", "-")
    value = Decimal(bare)
    digits = f"{value or value.copy_abs():f}"  # no zero below zero
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
