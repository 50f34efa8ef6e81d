import pytest

from lightning_transfer.extraction import AnswerPhrase, FirstLine, LastNumber, WholeText
from lightning_transfer.extraction.vote import majority


@pytest.mark.parametrize(
    ("text", "phrase", "last"),
    [
        ("5 + 6 = 11. The answer is 11.", "11", "11"),
        ("The answer is $1,234.50.", "1234.5", "1234.5"),
        ("the answer is: -3\nQ: 7 and 8. The answer is 15.", "-3", "15"),
        ("It costs 2,000 dollars", None, "2000"),
        ("The answer is 3.0", "3", "3"),
        ("The answer is 100", "100", "100"),
        ("The answer is many", None, None),
        ("", None, None),
        ("he has .5 left", None, "0.5"),
        ("10-3", None, "3"),
        ("see pages 12-15", None, "15"),
        ("x = -3", None, "-3"),
        ("The answer is $-5", "-5", "-5"),
        ("The answer is -$5", "-5", "-5"),
        ("The answer is \u22125", "-5", "-5"),
        ("The answer is -0.0", "0", "0"),
        ("3,4,5", None, "5"),
        ("1,234,567.50", None, "1234567.5"),
        ("The answer is 0.1234567890123456789012345678901234", *["0.1234567890123456789012345678901234"] * 2),
    ],
)
def test_numbers(text, phrase, last):
    assert AnswerPhrase()(text) == phrase
    assert LastNumber()(text) == last


def test_lines():
    assert FirstLine()("\n cats \nmore") == "cats"
    assert FirstLine()(" \n") is None
    assert WholeText()(" cats and\ndogs ") == "cats and\ndogs"
    assert WholeText()(" ") is None


def test_votes():
    assert majority(["1", "2", "2", None, None, None]) == "2"
    assert majority(["2", "1", "1", "2"]) == "2"
    assert majority([None, None]) is None
    assert majority([]) is None


def test_a_phrase_is_needed():
    with pytest.raises(ValueError, match="phrase=''"):
        AnswerPhrase("")
