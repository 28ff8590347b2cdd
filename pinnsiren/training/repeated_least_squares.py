"""Least squares whose matrix comes back with other right-hand sides: it is factored once.

Input: matrices and right-hand sides, one pair after the other. Output: solutions. Equations whose coefficients do not depend on time have the same
matrix in every time window of the same length.
"""

import torch

from pinnsiren.training.row_system import RIDGE

SAME = 1e-10  # relative difference of the products with one vector drawn by chance: what rounding of the coordinates of a window makes
SEED = 20_611


class RepeatedLeastSquares:
    """Solves min |A c - b|^2 + ridge by Householder QR with columns of unit norm, and keeps the last factor.

    A matrix is taken for the last one if its product with a random vector is the same in every row; what rounding left is mended by one step of
    iterative refinement with the matrix itself.
    """

    def __init__(self) -> None:
        self.sketch: torch.Tensor | None = None
        self.factorisations = 0

    def solve(self, matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Return the solution.

        Args:
            matrix: (n_rows, n_columns), real.
            right: (n_rows, n_right).
        """
        generator = torch.Generator().manual_seed(SEED)
        sketch = matrix @ torch.randn(matrix.shape[1], 1, dtype=matrix.dtype, generator=generator).to(matrix.device)
        last = self.sketch
        known = last is not None and last.shape == sketch.shape and self.columns == matrix.shape[1]
        if last is None or not known or bool(torch.max(torch.abs(sketch - last)) > SAME * torch.max(torch.abs(sketch))):
            self._factor(matrix)
            self.sketch = sketch
            return self._apply(right)
        first = self._apply(right)
        return first + self._apply(right - matrix @ first)

    def _factor(self, matrix: torch.Tensor) -> None:
        norms = torch.linalg.vector_norm(matrix, dim=0)
        self.norms = torch.where(norms > 0, norms, torch.ones_like(norms))
        self.columns = matrix.shape[1]
        ridge = RIDGE * torch.eye(self.columns, dtype=matrix.dtype, device=matrix.device)
        self.packed, self.reflectors = torch.geqrf(torch.cat([matrix / self.norms, ridge]))
        self.factorisations += 1

    def _apply(self, right: torch.Tensor) -> torch.Tensor:
        padded = torch.cat([right, torch.zeros(self.columns, right.shape[1], dtype=right.dtype, device=right.device)])
        rotated = torch.ormqr(self.packed, self.reflectors, padded, transpose=True)[: self.columns]
        solution: torch.Tensor = torch.linalg.solve_triangular(self.packed[: self.columns].triu(), rotated, upper=True)
        return solution / self.norms[:, None]
