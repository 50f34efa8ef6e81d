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
    columns = weight.shape[2]
    if columns <= 1:
        return result
    target = weight @ hessian
    for g, chosen in enumerate(zeros):
        counts = chosen.sum(1)
        for count in counts.unique().tolist():
            if count in (0, columns):
                continue
            for rows in (counts == count).nonzero().flatten().split(rows_at_once(columns)):
                gone = chosen[rows]
                if count < columns - count:
                    change = _solve(inverse[g], gone, weight[g, rows]) @ inverse[g]
                    result[g, rows] = (weight[g, rows] - change).masked_fill(gone, 0)
                else:
                    result[g, rows] = _solve(hessian[g], ~gone, target[g, rows])
    return result


def rows_at_once(columns: int) -> int:
    """As many rows as half a gigabyte holds a matrix of each of."""
    return max(1, (1 << 29) // (8 * columns * columns))


def _solve(matrix: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    """Solve for some rows and columns of a positive definite matrix (d, d), as many in each row of the mask (R, d); 0 elsewhere (R, d)."""
    places = mask.nonzero()[:, 1].view(len(mask), -1)
    factor = torch.linalg.cholesky(matrix[places.unsqueeze(2), places.unsqueeze(1)])
    solved = torch.cholesky_solve(target.gather(1, places).unsqueeze(2), factor).squeeze(2)
    return torch.zeros_like(target).scatter_(1, places, solved)
