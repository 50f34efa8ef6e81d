"""How likely choices are, given what their tokens are: `Scores` to logits (B, K)."""

from lightning_transfer.choice_scores.base import ChoiceScore
from lightning_transfer.choice_scores.information import PointwiseMutualInformation
from lightning_transfer.choice_scores.length import ByteMean, CharacterMean, TokenMean
from lightning_transfer.choice_scores.total import TotalScore

__all__ = ["ByteMean", "CharacterMean", "ChoiceScore", "PointwiseMutualInformation", "TokenMean", "TotalScore"]
