"""The mean over what a choice consists of, so that longer ones are not behind."""

from torch import Tensor

from lightning_transfer.choice_scores.base import ChoiceScore
from lightning_transfer.language.score import Scores


class TokenMean(ChoiceScore):
    """The mean log-probability of a choice's tokens.

    Reference:
        Brown et al., "Language Models are Few-Shot Learners", NeurIPS 2020, section 2.4.

    Example:
        >>> import torch
        >>> lengths = torch.tensor([[1, 3]])
        >>> TokenMean()(Scores(torch.tensor([[-1.0, -3.0]]), lengths, lengths, lengths))
        tensor([[-1., -1.]])
    """

    def __call__(self, scores: Scores, unconditional: Tensor | None = None) -> Tensor:
        return scores.log_prob / scores.tokens


class CharacterMean(ChoiceScore):
    """The log-probability of a choice over the number of its characters, a space in front of it among them.

    Reference:
        `acc_norm` of the Language Model Evaluation Harness (Gao et al. 2021), which leaves that space out.
    """

    def __call__(self, scores: Scores, unconditional: Tensor | None = None) -> Tensor:
        return scores.log_prob / scores.characters


class ByteMean(ChoiceScore):
    """The log-probability of a choice over its bytes in UTF-8, which does not favour one script over another.

    Reference:
        `acc_bytes` of the Language Model Evaluation Harness (Gao et al. 2021).
    """

    def __call__(self, scores: Scores, unconditional: Tensor | None = None) -> Tensor:
        return scores.log_prob / scores.bytes
