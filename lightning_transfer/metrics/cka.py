"""How alike two networks' embeddings of the same images are, whatever the axes that each happens to use."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

_ROUNDING = 1e-12  # a variance below this share of the mean square is that of rounding


class LinearCKA(Metric):
    """Linear centred kernel alignment over all images that were seen, in [0, 1]; not a number where an embedding is constant.

    It does not change when either side is rotated, mirrored, moved, or scaled as a whole, nor with the way images are cut into
    batches: sums of products are kept, (D1 + D2)² numbers in double precision, and no embedding. A mean over batches would be
    another and larger number.

    Args:
        first_features: D1.
        second_features: D2.

    Shape:
        update: (B, D1) and (B, D2), where B can differ from batch to batch.

    Reference:
        Kornblith, Norouzi, Lee, Hinton, "Similarity of neural network representations revisited", ICML 2019, section 3.

    Example:
        >>> cka, x = LinearCKA(3, 3), torch.eye(3)
        >>> cka.update(x, 2 * x[:, [1, 2, 0]] + 5)
        >>> round(cka.compute().item(), 6)
        1.0
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    count: Tensor
    total: Tensor
    products: Tensor

    def __init__(self, first_features: int, second_features: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first_features = first_features
        width = first_features + second_features
        for name, shape in (("count", ()), ("total", (width,)), ("products", (width, width))):
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, first: Tensor, second: Tensor) -> None:
        both = torch.cat([first, second], dim=1).double()
        self.count += len(both)
        self.total += both.sum(dim=0)
        self.products += both.T @ both

    def compute(self) -> Tensor:
        d = self.first_features
        covariance = self.products - torch.outer(self.total, self.total) / self.count
        sides = (covariance[:d, :d], self.products[:d, :d]), (covariance[d:, d:], self.products[d:, d:])
        if not all(centred.trace() > _ROUNDING * raw.trace() for centred, raw in sides):
            return covariance.new_tensor(float("nan"))
        alike: Tensor = covariance[:d, d:].square().sum() / (covariance[:d, :d].norm() * covariance[d:, d:].norm())
        return alike
