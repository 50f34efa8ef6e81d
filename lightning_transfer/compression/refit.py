"""The best weights that a choice of zeros allows."""

import torch
from torch import Tensor


def refit(weight: Tensor, zeros: Tensor, hessian: Tensor, inverse: Tensor) -> Tensor:
    """Least squares: the weights with these zeros whose outputs are nearest to those of `weight`.

    With S what is kept of a row, w_S = H_SS⁻¹ H_S: w. Where Z, what is not, is less, the same comes of the inverse: what is subtracted
    from w is H⁻¹_:Z (H⁻¹_ZZ)⁻¹ w_Z.

    Args:
        weight: (G, R, d).
        zeros: (G, R, d), true where the result is zero.
        hessian: (G, d, d), damped.
        inverse: (G, d, d), of the damped one.

    Returns:
        (G, R, d); as it was where a row has no zeros, whatever rounding would say.
    """
    result = weight.masked_fill(zeros, 0)
    if weight.shape[2] <= 1:
        return result
    target = weight @ hessian
    for g in range(weight.shape[0]):
        for r in zeros[g].any(1).nonzero().flatten().tolist():
            kept, gone = (mask.nonzero().flatten() for mask in (~zeros[g, r], zeros[g, r]))
            if len(gone) < len(kept):
                change = inverse[g][:, gone] @ _solve(inverse[g], gone, weight[g, r])
                result[g, r] = (weight[g, r] - change).masked_fill(zeros[g, r], 0)
            elif len(kept):
                result[g, r, kept] = _solve(hessian[g], kept, target[g, r])
    return result


def _solve(matrix: Tensor, rows: Tensor, target: Tensor) -> Tensor:
    """Solve for some rows and columns of a positive definite matrix."""
    factor = torch.linalg.cholesky(matrix[rows[:, None], rows])
    return torch.cholesky_solve(target[rows].unsqueeze(1), factor).squeeze(1)
