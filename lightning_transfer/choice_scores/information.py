"""What a query adds to a choice."""

from torch import Tensor

from lightning_transfer.choice_scores.base import ChoiceScore
from lightning_transfer.language.score import Scores


class PointwiseMutualInformation(ChoiceScore):
    """The log-probability of a choice behind its context less that behind a premise that all queries share.

    Args:
        premise: "Sentiment:" for example; the mark of a text's beginning if empty.

    Reference:
        Holtzman, West, Shwartz, Choi, Zettlemoyer, "Surface Form Competition: Why the Highest Probability Answer Isn't Always Right",
        EMNLP 2021, equation 4.

    Example:
        >>> import torch
        >>> one = torch.ones(1, 2)
        >>> PointwiseMutualInformation()(Scores(torch.tensor([[-1.0, -3.0]]), one, one, one), torch.tensor([[-1.0, -5.0]]))
        tensor([[0., 2.]])
    """

    def __init__(self, premise: str = "") -> None:
        self.premise = premise

    def __call__(self, scores: Scores, unconditional: Tensor | None = None) -> Tensor:
        if unconditional is None:
            raise ValueError("PointwiseMutualInformation needs the choices' scores behind its premise, unconditional")
        return scores.log_prob - unconditional
