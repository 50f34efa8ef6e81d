"""A classifier that is trained on the support."""

from functools import partial
from typing import Literal

from torch import Tensor
from torch.nn.functional import normalize
from torch.optim import SGD

from lightning_transfer.contracts import OptimizerFactory
from lightning_transfer.fewshot.base import EpisodeRule, check_range
from lightning_transfer.fewshot.descend import descend
from lightning_transfer.fewshot.distances import prototypes, similarity

_SGD = partial(SGD, lr=0.01, momentum=0.9, dampening=0.9, weight_decay=0.001)


class BaselinePlusPlus(EpisodeRule):
    """Weights of the ways are trained on the support by gradient steps, each on all of it.

    Args:
        classifier: `cosine` (Baseline++), which begins at the directions of the prototypes, or `linear` (Baseline), which begins at 0.
        steps: of the optimiser, ≥ 1.
        scale: of the cosines, > 0.
        optimizer: makes one that treats each entry by itself, such as SGD or Adam; the paper's SGD at 0.01 with momentum, dampening and
            weight decay if not given.

    Raises:
        ValueError: for values out of range.

    Reference:
        Chen, Liu, Kira, Wang, Huang, "A Closer Look at Few-shot Classification", ICLR 2019, section 3.2 and appendix A3.

    Deviation:
        The paper begins at random weights and draws batches of 4: answers would depend on chance, and on the order of the ways.
    """

    def __init__(
        self,
        classifier: Literal["cosine", "linear"] = "cosine",
        steps: int = 100,
        scale: float = 10.0,
        optimizer: OptimizerFactory | None = None,
    ) -> None:
        super().__init__()
        if classifier not in ("cosine", "linear"):
            raise ValueError(f"classifier={classifier!r} of BaselinePlusPlus must be cosine or linear")
        check_range(self, "steps", steps, 1, inclusive=True, hint="100 are common")
        check_range(self, "scale", scale, 0, hint="10 is common")
        self.classifier, self.steps, self.scale = classifier, steps, scale
        self.optimizer = _SGD if optimizer is None else optimizer

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        ways = prototypes(support, labels)
        weight = normalize(ways, dim=-1) if self.classifier == "cosine" else ways.new_zeros(ways.shape)
        bias = ways.new_zeros(len(ways), 1, ways.shape[1])
        start = [weight] if self.classifier == "cosine" else [weight, bias]
        given = [support, labels]
        return self._logits(query, *descend(self._loss, start, given, self.optimizer, self.steps))

    def _logits(self, embedding: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if bias is None:
            return self.scale * similarity(embedding, weight, "cosine")
        return embedding @ weight.mT + bias

    def _loss(self, *parts: Tensor) -> Tensor:
        *trained, support, labels = parts
        log_probability = self._logits(support, *trained).log_softmax(dim=-1)
        return -(labels * log_probability).sum(dim=-1).mean(dim=1).sum()
