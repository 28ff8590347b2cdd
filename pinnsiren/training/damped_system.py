"""The damped step on an explicit Jacobian, and what all systems that can bend a step have in common.

Input: Jacobian and rows; of many processes, each has rows of its own and all have the step. Output: steps with the decrease that the linear model
predicts. Sums over rows are all-reduced, so that every process takes the same step.

Reference: Nielsen 1999 for the damping; Transtrum and Sethna 2012, arXiv:1201.5885, for the acceleration.
"""

from abc import ABC, abstractmethod

import torch

from pinnsiren.training.network_start import column_norms
from pinnsiren.training.parallel import ALONE, Ranks

SMALLEST_EFFECT = 1e-10  # of the largest column of the Jacobian
PROBE = 0.1  # of the step: where the difference for the second derivative is taken (Transtrum and Sethna, section 4.2)
LARGEST_BEND = 0.75  # acceleration over step, both in units of the column norms (the same): above, the expansion does not hold


class AbstractDampedSystem(ABC):
    """min |r + A v|^2 + mu |v|^2 with v the step in units of the column norms.

    Attributes:
        norms: D, (n_columns,).
        rows: r, (n_rows,).
    """

    norms: torch.Tensor
    rows: torch.Tensor

    @abstractmethod
    def step(self, damping: float) -> tuple[torch.Tensor, float]:
        """Return the step and the decrease of half the sum of squares that the linear model predicts."""

    @abstractmethod
    def product(self, scaled: torch.Tensor) -> torch.Tensor:
        """Return A v."""

    @abstractmethod
    def descent(self, rows: torch.Tensor) -> torch.Tensor:
        """Return -(A^T A + damping)^-1 A^T rows with the damping of the last step."""

    def bent(self, step: torch.Tensor, there: torch.Tensor) -> torch.Tensor | None:
        """Return the last step with half the acceleration along it, None where that is not small.

        Args:
            step: as `step` returned it.
            there: the rows at `PROBE` times the step.
        """
        scaled = step * self.norms
        length = float(scaled.norm())
        if length == 0:
            return None
        second = (2 / PROBE) * ((there - self.rows) / PROBE - self.product(scaled))
        acceleration = self.descent(second)
        bend = float(acceleration.norm()) / length
        return (scaled + 0.5 * acceleration) / self.norms if bend <= LARGEST_BEND else None


class DampedSystem(AbstractDampedSystem):
    """The normal equations, primal or dual, factorised anew for each damping.

    Args:
        jacobian: (n_rows, n_columns), the rows of this process.
        rows: (n_rows,).
        ranks: the processes of the run; many are primal always, since rows are what is split.
    """

    def __init__(self, jacobian: torch.Tensor, rows: torch.Tensor, ranks: Ranks = ALONE) -> None:
        self.ranks, self.rows = ranks, rows
        norms = column_norms(jacobian, ranks)
        # A parameter that moves next to nothing, such as the width of a bump that lies between all points, must not be sent far away for it.
        self.norms = torch.clamp(norms, min=SMALLEST_EFFECT * float(norms.max()))
        self.matrix = jacobian / self.norms
        self.dual = ranks.size == 1 and jacobian.shape[1] > jacobian.shape[0]
        self.gram = self.matrix @ self.matrix.T if self.dual else ranks.add(self.matrix.T @ self.matrix)
        self.gradient = self._transposed(rows)

    def _transposed(self, rows: torch.Tensor) -> torch.Tensor:
        return self.ranks.add(self.matrix.T @ rows)

    def step(self, damping: float) -> tuple[torch.Tensor, float]:
        """Return the step and the decrease that the linear model predicts."""
        shifted = self.gram + damping * torch.eye(len(self.gram), dtype=self.gram.dtype, device=self.gram.device)
        factor, failed = torch.linalg.cholesky_ex(shifted)
        self.factor = factor
        if int(failed):
            return torch.zeros_like(self.norms), 1.0
        if self.dual:
            scaled = self.descent(self.rows)
        else:
            scaled = -torch.cholesky_solve(self.gradient[:, None], factor)[:, 0]
            # One step of refinement on the true residual recovers the digits that squaring the condition number costs.
            rest = self.rows + self.matrix @ scaled
            correction = self._transposed(rest) + damping * scaled
            scaled = scaled - torch.cholesky_solve(correction[:, None], factor)[:, 0]
        model = self.rows + self.matrix @ scaled
        predicted = 0.5 * float(self.ranks.add(self.rows.pow(2).sum() - model.pow(2).sum()))
        return scaled / self.norms, predicted

    def product(self, scaled: torch.Tensor) -> torch.Tensor:
        """Return A v."""
        return self.matrix @ scaled

    def descent(self, rows: torch.Tensor) -> torch.Tensor:
        """Return -(A^T A + damping)^-1 A^T rows with the last factor, A the matrix of unit columns."""
        if self.dual:
            return -(self.matrix.T @ torch.cholesky_solve(rows[:, None], self.factor)[:, 0])
        descent: torch.Tensor = -torch.cholesky_solve(self._transposed(rows)[:, None], self.factor)[:, 0]
        return descent
