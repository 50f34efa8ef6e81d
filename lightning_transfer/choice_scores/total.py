"""The probability of the whole choice."""

from torch import Tensor

from lightning_transfer.choice_scores.base import ChoiceScore
from lightning_transfer.language.score import Scores


class TotalScore(ChoiceScore):
    """The log-probability of a choice: the sum over its tokens. Longer choices are less likely; words of one token compare fairly.

    Reference:
        Brown et al., "Language Models are Few-Shot Learners", NeurIPS 2020, section 2.4; `acc` of the Language Model Evaluation Harness.

    Example:
        >>> import torch
        >>> one = torch.ones(1, 2)
        >>> TotalScore()(Scores(torch.tensor([[-1.0, -3.0]]), one, one, one))
        tensor([[-1., -3.]])
    """

    def __call__(self, scores: Scores, unconditional: Tensor | None = None) -> Tensor:
        return scores.log_prob
