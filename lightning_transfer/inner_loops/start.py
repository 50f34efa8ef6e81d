"""What heads of episodes begin with."""

from torch import Tensor
from torch.nn.functional import one_hot

from lightning_transfer.fewshot.distances import prototypes


def way_means(embedding: Tensor, target: Tensor) -> Tensor:
    """Mean embedding of each way, (K, D).

    Args:
        embedding: (S, D).
        target: (S,) int64, ways numbered from 0, each of them at least once.
    """
    labels = one_hot(target).to(embedding.dtype)
    return prototypes(embedding.unsqueeze(0), labels.unsqueeze(0)).squeeze(0)
