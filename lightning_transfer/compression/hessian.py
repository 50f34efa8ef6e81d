"""Second moments of a layer's inputs: how much each change of its weights changes what it puts out."""

import torch
from torch import Tensor, nn

from lightning_transfer.compression.rows import input_columns

_TRIES = 8


class Hessian:
    """Gathers H = 2XXᵀ/N of a layer over batches, one matrix a group; ½ δHδᵀ is then the mean squared change of a row's output.

    Products are taken in the inputs' precision and added up in double precision, so that H does not depend on how images are batched
    but for rounding.

    Args:
        layer: a linear layer or a convolution.

    Shape:
        (G, d, d)
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.images = 0
        self.total = torch.zeros(())

    @torch.no_grad()
    def add(self, inputs: Tensor) -> None:
        """Take in what the layer is given for a batch."""
        self.images += len(inputs)
        for columns in input_columns(self.layer, inputs):
            self.total = self.total + (columns @ columns.transpose(1, 2)).double()

    def matrix(self) -> Tensor:
        """H, exactly symmetric.

        Raises:
            ValueError: if no image has been.
        """
        if self.images == 0:
            raise ValueError("no calibration image has reached the layer; give training images, at least one batch")
        return (self.total + self.total.transpose(1, 2)) / self.images


def damped(hessian: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """Add a share of each group's mean diagonal to the diagonal, ten times as much as often as it takes to invert the sum.

    Inputs that were zero throughout get the mean diagonal: they are on their own, and no other weight can make up for theirs.

    Args:
        hessian: (G, d, d).
        damping: share ≥ 0; where 0 does not do, 1e-8 is next.

    Returns:
        the damped matrix and its inverse, (G, d, d) each

    Raises:
        ValueError: if the matrix is not finite, or damping does not help.
    """
    if not hessian.isfinite().all():
        raise ValueError("the inputs' second moments are not finite; look at the calibration images and the network")
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    mean = diagonal.mean(dim=1, keepdim=True)
    mean = torch.where(mean > 0, mean, torch.ones_like(mean))
    identity = torch.eye(hessian.shape[1], dtype=hessian.dtype, device=hessian.device)
    dead = torch.where(diagonal == 0, mean, torch.zeros_like(mean))
    share = damping
    for _ in range(_TRIES):
        matrix = hessian + identity * (dead + share * mean).unsqueeze(1)
        factor, info = torch.linalg.cholesky_ex(matrix)
        if not info.any():
            return matrix, torch.cholesky_inverse(factor)
        share = max(10 * share, 1e-8)
    raise ValueError(f"the inputs' second moments cannot be inverted even with damping={share:g}; give more images")


def dead_inputs(hessian: Tensor) -> Tensor:
    """Inputs (G, d) that were zero for all images."""
    return hessian.diagonal(dim1=1, dim2=2) == 0
