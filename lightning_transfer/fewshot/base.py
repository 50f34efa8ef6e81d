"""What every few-shot rule shares: one shape for one episode and many, and what of them is refused."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lightning_transfer.contracts import FewShotRule


class EpisodeRule(FewShotRule):
    """A rule that is written for E episodes at once, in single precision at least.

    Attributes:
        least_ways: below which it has nothing to tell apart.

    Raises:
        ValueError: for an episode whose parts do not belong together, with a way that has no example, or with too few ways.
    """

    least_ways: ClassVar[int] = 2

    def forward(self, support: Tensor, target: Tensor, query: Tensor, classes: Tensor | None = None) -> Tensor:
        if support.ndim == 2:
            one = None if classes is None else classes.unsqueeze(0)
            return self.forward(support.unsqueeze(0), target.unsqueeze(0), query.unsqueeze(0), one).squeeze(0)
        check_episodes(support, target, query)
        dtype = torch.promote_types(support.dtype, torch.float32)  # squares of half precision soon overflow
        labels = way_labels(target, type(self).__name__, self.least_ways).to(dtype)
        with torch.autocast(support.device.type, enabled=False):
            return self.answer(self.see(support.to(dtype)), labels, self.see(query.to(dtype)), classes)

    def see(self, embedding: Tensor) -> Tensor:  # most rules take embeddings as they are
        """What is made of each embedding (E, N, D) by itself."""
        return embedding

    @abstractmethod
    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        """Answer the queries.

        Args:
            support: (E, S, D).
            labels: (E, S, K), 1 for an example's way and 0 for others.
            query: (E, Q, D).
            classes: (E, K) or none.

        Returns:
            logits (E, Q, K)
        """


def check_episodes(support: Tensor, target: Tensor, query: Tensor) -> None:
    """Refuse episodes whose parts do not belong together.

    Raises:
        ValueError: saying which.
    """
    if support.ndim != 3 or query.ndim != 3:
        raise ValueError(
            f"support {_shape(support)} and query {_shape(query)} must be embeddings (E, S, D) and (E, Q, D), or (S, D) and (Q, D)"
        )
    if support.shape[-1] != query.shape[-1]:
        raise ValueError(
            f"the support's embeddings have {support.shape[-1]} entries and the queries' {query.shape[-1]}; take both from one backbone"
        )
    if target.is_floating_point() or target.dtype is torch.bool or target.is_complex():
        raise ValueError(f"target is {target.dtype}; the ways are numbered by integers, from 0")
    if target.shape != support.shape[:2] or len(query) != len(support):
        raise ValueError(
            f"support {_shape(support)}, target {_shape(target)} and query {_shape(query)} must be of as many episodes, and the target "
            "of as many images as the support"
        )


def _shape(tensor: Tensor) -> str:
    return f"of shape {tuple(tensor.shape)}"


def way_labels(target: Tensor, rule: str, least_ways: int) -> Tensor:
    """Targets (E, S) as 1 for an example's way and 0 for others, (E, S, K).

    Raises:
        ValueError: for no examples, numbers below 0, a way without any, or fewer ways than the rule can tell apart.
    """
    if target.numel() == 0:
        raise ValueError(f"the support holds no image; {rule} needs at least one of each way")
    if target.min() < 0:
        raise ValueError(f"target={int(target.min())} of the support: the ways are numbered from 0")
    labels = one_hot(target.long())
    missing = (labels.sum(dim=1) == 0).nonzero()
    if len(missing):
        episode, way = missing[0].tolist()
        raise ValueError(
            f"way {way} of episode {episode} has no image in the support; give each of its {labels.shape[-1]} ways at least one"
        )
    if labels.shape[-1] < least_ways:
        raise ValueError(f"the support shows one way only, and {rule} answers which of several a query is; give it two")
    return labels


def check_range(rule: object, name: str, value: float, least: float, inclusive: bool = False, hint: str = "") -> None:
    """Refuse a hyper-parameter that is too small.

    Raises:
        ValueError: naming it, its value and what would do.
    """
    if value < least or (value == least and not inclusive):
        bound = "at least" if inclusive else "above"
        raise ValueError(f"{name}={value} of {type(rule).__name__} must be {bound} {least:g}; {hint}")
