"""What a model said to its answer, or none where there is none to be found."""

from lightning_transfer.extraction.base import Extraction
from lightning_transfer.extraction.lines import FirstLine, WholeText
from lightning_transfer.extraction.numbers import AnswerPhrase, LastNumber

__all__ = ["AnswerPhrase", "Extraction", "FirstLine", "LastNumber", "WholeText"]
