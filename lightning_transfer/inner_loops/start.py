"""What heads of episodes begin with."""

from torch import Tensor
from torch.nn.functional import one_hot


def way_means(embedding: Tensor, target: Tensor) -> Tensor:
    """Mean embedding of each way, (K, D).

    Args:
        embedding: (S, D).
        target: (S,) int64, ways numbered from 0, each of them at least once.
    """
    member = one_hot(target).to(embedding.dtype)
    return member.T @ embedding / member.sum(dim=0).unsqueeze(1)
