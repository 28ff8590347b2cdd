"""The damped step of fewer residuals than parameters, in dual form from the factors of the streams; the Jacobian is never formed.

(K + mu) y = r, delta = -D^-1 B^T y with B = P J D^-1, K = B B^T and D the separable norms of the columns. P removes the range of the last layer's
columns where that layer is solved exactly (Kaufman's form of variable projection): K is then P (J D^-2 J^T) P, since P acts on rows.

Input: `RowFactors` of all residuals. Output: steps with the decrease that the linear model predicts, as the explicit Jacobian gives them.

Reference: Ren and Goldfarb 2019 and Jnini et al. 2025, arXiv:2505.21404, for the dual form.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pinnsiren.networks.row_factors import RowFactors, SeparableNorms, gram, separable_norms, squared_norms, sums_of_squares, tiles_of
from pinnsiren.training.damped_system import AbstractDampedSystem
from pinnsiren.training.parallel import ALONE, Ranks

PROBES = 16  # columns of biases, which stand alone, are then known to a third


class FactoredMatrix:
    """J D^-1 of several residuals.

    Args:
        factors: rows of each residual.
        norms: D; None takes the separable norms of these rows.
    """

    def __init__(self, factors: Sequence[RowFactors], norms: SeparableNorms | None = None) -> None:
        if norms is None:
            norms = separable_norms(torch.stack([squared_norms(part) for part in factors]).sum(0), factors[0])
        self.norms = norms.flat()
        self.parts = [part.scaled(norms) for part in factors]
        self.sizes = [part.n_rows for part in factors]

    def product(self, direction: Tensor) -> Tensor:
        """(n_rows,) from (P,)."""
        return torch.cat([part.product(direction) for part in self.parts])

    def transpose_product(self, weights: Tensor) -> Tensor:
        """(P,) from (n_rows,)."""
        pieces = torch.split(weights, self.sizes)
        return torch.stack([part.transpose_product(piece) for part, piece in zip(self.parts, pieces, strict=True)]).sum(0)

    def gram(self, ranks: Ranks = ALONE) -> Tensor:
        """J D^-2 J^T, (n_rows, n_rows); the processes of a run share its tiles."""
        n_rows = sum(self.sizes)
        total = self.norms.new_zeros(n_rows, n_rows)
        starts = [sum(self.sizes[:index]) for index in range(len(self.sizes))]
        for i, a in enumerate(self.parts):
            for j, b in enumerate(self.parts[: i + 1]):
                block = self.norms.new_zeros(a.n_rows, b.n_rows)
                gram(a, b, list(ranks.share(tiles_of(a, b, symmetric=i == j))), block)
                total[starts[i] : starts[i] + a.n_rows, starts[j] : starts[j] + b.n_rows] = block
        _mirror(total, self.parts, starts)
        return ranks.add(total)


def _mirror(total: Tensor, parts: Sequence[RowFactors], starts: Sequence[int]) -> None:
    """Write the upper half. Rows of several residuals per point interleave: within a block, points order what was computed, not rows."""
    for i, a in enumerate(parts):
        rows = slice(starts[i], starts[i] + a.n_rows)
        total[: starts[i], rows] = total[rows, : starts[i]].t()
        n_residuals, n_points = len(a.layers[0].bias), a.n_points
        block = total[rows, rows].clone().view(n_residuals, n_points, n_residuals, n_points)
        for window, other in tiles_of(a, a, symmetric=True):
            if other.start < window.start:
                block[:, other, :, window] = block[:, window, :, other].permute(2, 3, 0, 1)
        total[rows, rows] = block.view(a.n_rows, a.n_rows)


class DualSystem(AbstractDampedSystem):
    """The dual equations, factorised anew for each damping.

    Args:
        factors: rows of each residual, of what moves.
        rows: residuals (n_rows,).
        basis: orthonormal columns (n_rows, n_last) of the eliminated layer, or None.
        ranks: the processes of the run.
    """

    def __init__(self, factors: Sequence[RowFactors], rows: Tensor, basis: Tensor | None = None, ranks: Ranks = ALONE) -> None:
        norms = None if basis is None else projected_norms(factors, basis)
        self.matrix, self.rows, self.basis = FactoredMatrix(factors, norms), rows, basis
        self.norms = self.matrix.norms
        gram_matrix = self.matrix.gram(ranks)
        if basis is not None:
            gram_matrix = gram_matrix - basis @ (basis.T @ gram_matrix)
            gram_matrix = gram_matrix - (gram_matrix @ basis) @ basis.T
        self.gram = gram_matrix

    def step(self, damping: float) -> tuple[Tensor, float]:
        """Return the step and the decrease that the linear model predicts."""
        shifted = self.gram + damping * torch.eye(len(self.gram), dtype=self.gram.dtype, device=self.gram.device)
        self.factor, failed = torch.linalg.cholesky_ex(shifted)
        if int(failed):
            return torch.zeros_like(self.norms), 1.0
        scaled = self.descent(self.rows)
        model = self.rows + self.product(scaled)
        predicted = 0.5 * float(self.rows.pow(2).sum() - model.pow(2).sum())
        return scaled / self.norms, predicted

    def product(self, scaled: Tensor) -> Tensor:
        """Return the change of the rows, B v, along a step in units of D."""
        return self._projected(self.matrix.product(scaled))

    def descent(self, rows: Tensor) -> Tensor:
        """Return -B^T (K + damping)^-1 rows with the last factor."""
        return -self.matrix.transpose_product(self._projected(torch.cholesky_solve(rows[:, None], self.factor)[:, 0]))

    def _projected(self, rows: Tensor) -> Tensor:
        return rows if self.basis is None else rows - self.basis @ (self.basis.T @ rows)


def projected_norms(factors: Sequence[RowFactors], basis: Tensor) -> SeparableNorms:
    """Return the separable norms of P J: with w of random signs, (J^T P w)_j^2 has the squared norm of column j of P J as its expectation.

    Sums over a row or a column of a weight average over its entries as well, so that a few w are enough.
    """
    generator = torch.Generator().manual_seed(0)
    total = None
    for _ in range(PROBES):
        signs = (2.0 * torch.randint(0, 2, (len(basis),), generator=generator) - 1.0).to(basis)
        pieces = torch.split(signs - basis @ (basis.T @ signs), [part.n_rows for part in factors])
        vector = torch.stack([part.transpose_product(piece) for part, piece in zip(factors, pieces, strict=True)]).sum(0)
        squares = sums_of_squares(vector, factors[0])
        total = squares if total is None else total + squares
    assert total is not None
    return separable_norms(total / PROBES, factors[0])
