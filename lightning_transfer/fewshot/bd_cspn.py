"""Prototypes that the queries move."""

from torch import Tensor

from lightning_transfer.fewshot.base import check_range
from lightning_transfer.fewshot.distances import prototypes, similarity
from lightning_transfer.fewshot.transform import Transform, TransformedRule


class BDCSPN(TransformedRule):
    """Queries are moved by the difference of the two means, and taken into the prototype that they are nearest to.

    Each image counts exp(scale · cos(x, c)) in its way's new prototype, examples by their label and queries by the nearest old one. That the
    means of support and queries should be one supposes that the ways are asked for as often as they are shown.

    Args:
        scale: of the cosines, > 0; the greater, the less images count that are far from the old prototype.
        transform: UN, L2N or CL2N, as for `SimpleShot`.

    Raises:
        ValueError: for values out of range.

    Reference:
        Liu, Song, Qin, "Prototype Rectification for Few-Shot Learning", ECCV 2020, section 3.

    Deviation:
        All queries have a pseudo-label, not only the most confident ones of each way.
    """

    transductive = True
    assumes_balance = True

    def __init__(self, scale: float = 10.0, transform: Transform = "L2N") -> None:
        super().__init__(transform)
        check_range(self, "scale", scale, 0, hint="10 is common")
        self.scale = scale

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        ways, query = rectified(support, labels, query, self.scale)
        return self.scale * similarity(query, ways, "cosine")


def rectified(support: Tensor, labels: Tensor, query: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Prototypes (E, K, D) with the queries' help, and the queries (E, Q, D) moved to where the support is."""
    query = query + support.mean(dim=1, keepdim=True) - query.mean(dim=1, keepdim=True)
    old = prototypes(support, labels)
    near = similarity(query, old, "cosine")
    pseudo = (near == near.amax(dim=-1, keepdim=True)).to(
        near
    )  # of equals all: which is first depends on the ways' order
    weight = labels * (scale * (similarity(support, old, "cosine") - 1)).exp()
    weight_query = pseudo * (scale * (near - 1)).exp()
    total = weight.sum(dim=1) + weight_query.sum(dim=1)
    return (weight.mT @ support + weight_query.mT @ query) / total.unsqueeze(-1), query
