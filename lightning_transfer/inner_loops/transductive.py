"""Fine-tuning within an episode that also looks at the queries."""

from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_transfer.inner_loops.fine_tuning import FineTuning


class TransductiveFineTuning(FineTuning):
    """Fine-tunes on the support's labels, and on how sure it is of the queries: cross-entropy plus the entropy of their answers.

    Args:
        rate, epochs: as for `FineTuning`.

    Reference:
        Dhillon et al., "A Baseline for Few-Shot Image Classification", ICLR 2020, equation 7.
    """

    asks = True

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        shown, asked = logits[: len(target)], logits[len(target) :].log_softmax(dim=-1)
        entropy = -(asked.exp() * asked).sum(dim=-1).mean()
        return cross_entropy(shown, target) + entropy
