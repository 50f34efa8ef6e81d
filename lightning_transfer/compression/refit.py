"""The best weights that a choice of zeros allows."""

import torch
from torch import Tensor


def refit(weight: Tensor, zeros: Tensor, hessian: Tensor) -> Tensor:
    """Least squares: the weights with these zeros whose outputs are nearest to those of `weight`.

    With S what is kept of a row, w_S = H_SS⁻¹ H_S: w.

    Args:
        weight: (G, R, d).
        zeros: (G, R, d), true where the result is zero.
        hessian: (G, d, d), damped.

    Returns:
        (G, R, d); as it was where a row has no zeros, whatever rounding would say.
    """
    result = weight.masked_fill(zeros, 0)
    if weight.shape[2] <= 1:
        return result
    target = weight @ hessian
    for g in range(weight.shape[0]):
        for r in zeros[g].any(1).nonzero().flatten().tolist():
            kept = (~zeros[g, r]).nonzero().flatten()
            if len(kept):
                factor = torch.linalg.cholesky(hessian[g][kept[:, None], kept])
                result[g, r, kept] = torch.cholesky_solve(target[g, r, kept].unsqueeze(1), factor).squeeze(1)
    return result
