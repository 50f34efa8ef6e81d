"""Nearest means of embeddings that were centred and brought to unit length."""

from torch import Tensor

from lightning_transfer.fewshot.base import check_range
from lightning_transfer.fewshot.distances import prototypes, squared_distances
from lightning_transfer.fewshot.transform import Transform, TransformedRule


class SimpleShot(TransformedRule):
    """The nearest mean by Euclidean distance, of embeddings centred by the mean of base classes and of unit length.

    Args:
        transform: UN (as they are), L2N (of unit length) or CL2N (centred first), the paper's best, which needs base classes.
        scale: of the negative squared distances, > 0.

    Raises:
        ValueError: for values out of range; at a call for CL2N that was not prepared.

    Reference:
        Wang, Chao, Weinberger, van der Maaten, "SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot Learning", 2019,
        section 3.
    """

    least_ways = 1

    def __init__(self, transform: Transform = "CL2N", scale: float = 10.0) -> None:
        super().__init__(transform)
        check_range(self, "scale", scale, 0, hint="10 is common for vectors of unit length")
        self.scale = scale

    def answer(self, support: Tensor, labels: Tensor, query: Tensor, classes: Tensor | None) -> Tensor:
        return -self.scale * squared_distances(query, prototypes(support, labels))
