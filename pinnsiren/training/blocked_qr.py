"""Least squares with more rows than memory: QR by blocks of rows.

Input: blocks of rows (n, M) and right-hand sides (n, K), one after another. Output: the solution of min |A c - b|, accurate as one Householder QR of
the whole, since every step is an orthogonal map: `[R; A_i] = Q R'`. Held at any time: R (M, M), Q^T b (M, K) and one block.

Reference: Golub and Van Loan, Matrix Computations, section 6.5.3 (row updates); Demmel, Grigori, Hoemmen and Langou 2012 (TSQR).
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from pinnsiren.errors import ProblemError

RIDGE = 1e-14  # relative to columns of unit norm, as in `row_system`


class BlockedQR:
    """The triangular factor of all rows seen so far.

    Args:
        n_columns: M.
        n_right: K.
        dtype: of the rows, real or complex.
        device: where they live.
    """

    def __init__(self, n_columns: int, n_right: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> None:
        self.n_columns, self.n_right = n_columns, n_right
        self.n_rows = 0
        self.residual_squares = torch.zeros(n_right, dtype=torch.float64, device=device)
        self._factor = torch.zeros(0, n_columns + n_right, dtype=dtype, device=device)

    def add(self, matrix: Tensor, right: Tensor) -> None:
        """Fold in a block of rows.

        Raises:
            ProblemError: shapes that do not fit.
        """
        if matrix.shape[1:] != (self.n_columns,) or right.shape != (len(matrix), self.n_right):
            raise ProblemError(
                f"a block of rows has shapes `{tuple(matrix.shape)}` and `{tuple(right.shape)}`; "
                f"expected (n, {self.n_columns}) and (n, {self.n_right})"
            )
        stacked = torch.cat([self._factor, torch.cat([matrix, right], dim=1).to(self._factor)])
        self.n_rows += len(matrix)
        if len(stacked) <= self.n_columns:
            self._factor = stacked
            return
        # One factorisation of [A, b]: the rows of its factor below M hold what no c can reach.
        triangle = torch.linalg.qr(stacked, mode="r").R
        self._factor = triangle[: self.n_columns]
        self.residual_squares += triangle[self.n_columns :, self.n_columns :].abs().pow(2).sum(0).double()

    def solve(self) -> tuple[Tensor, Tensor]:
        """Return c (M, K) and the norms |A c - b| of its residuals (K,); a ridge of 1e-14 keeps redundant columns defined."""
        matrix, right = self._factor[:, : self.n_columns], self._factor[:, self.n_columns :]
        norms = torch.linalg.vector_norm(matrix, dim=0)
        norms = torch.where(norms > 0, norms, torch.ones_like(norms))
        scaled = matrix / norms
        ridge = RIDGE * torch.eye(self.n_columns, dtype=matrix.dtype, device=matrix.device)
        padded = torch.cat([right, torch.zeros(self.n_columns, self.n_right, dtype=right.dtype, device=right.device)])
        solution: Tensor = torch.linalg.lstsq(torch.cat([scaled, ridge]), padded, driver="gels").solution
        left = (scaled @ solution - right).abs().pow(2).sum(0).double()
        return solution / norms[:, None], torch.sqrt(self.residual_squares + left)


def solve_by_blocks(blocks: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Solve min |A c - b| over rows that come in blocks.

    Returns:
        c (M, K) and the norms of the residuals (K,).

    Raises:
        ProblemError: no block at all.
    """
    factor: BlockedQR | None = None
    for matrix, right in blocks:
        if factor is None:
            factor = BlockedQR(matrix.shape[1], right.shape[1], dtype=matrix.dtype, device=matrix.device)
        factor.add(matrix, right)
    if factor is None:
        raise ProblemError("least squares by blocks was given no rows; give at least one block")
    return factor.solve()
