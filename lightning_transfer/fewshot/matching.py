"""Every example speaks for its way."""

import torch
from torch import Tensor

from lightning_transfer.fewshot.base import EpisodeRule, check_range
from lightning_transfer.fewshot.distances import similarity


class MatchingRule(EpisodeRule):
    """A softmax over the cosines to all examples, summed over each way; logits are the logarithms of these shares.

    A way with more examples has more to say, as in the paper.

    Args:
        scale: of the cosines, > 0; the smaller, the more alike all examples count.

    Raises:
        ValueError: for a scale out of range.

    Reference:
        Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra, "Matching Networks for One Shot Learning", NeurIPS 2016, section 2.1.

    Deviation:
        Without the LSTMs over the support (full context embeddings). The paper's scale is 1, which leaves hardly a difference between
        shares.
    """

    def __init__(self, scale: float = 10.0) -> None:
        super().__init__()
        check_range(self, "scale", scale, 0, hint="10 is common")
        self.scale = scale

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        return summed_by_way(self.scale * similarity(query, support, "cosine"), labels).log_softmax(dim=-1)


def summed_by_way(scores: Tensor, labels: Tensor) -> Tensor:
    """Logarithms of the sums of exp(score) over each way's examples, which are finite however small a sum is.

    Shape:
        scores (E, Q, S), labels (E, S, K) → (E, Q, K)
    """
    way = labels.argmax(dim=-1).unsqueeze(1).expand_as(scores)
    lowest = scores.new_full((*scores.shape[:2], labels.shape[-1]), -torch.inf)
    greatest = lowest.scatter_reduce(-1, way, scores.detach(), "amax")
    return greatest + ((scores - greatest.gather(-1, way)).exp() @ labels).log()
