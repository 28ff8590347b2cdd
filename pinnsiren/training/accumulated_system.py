"""The damped normal equations of more rows than memory: accumulated once per step, factorised anew for each damping.

Input: `NormalEquations`. Output: steps with the decrease that the linear model predicts, as the system on an explicit Jacobian gives them, from the
Gram matrix alone. Squaring costs half the digits: steps end where the relative residual nears 1e-8 of the columns' norms.
"""

import torch

from pinnsiren.training.normal_equations import NormalEquations

JACOBIAN_BYTES = 2 << 30
"""Largest Jacobian that is held as a whole; projections and products make about three of it, 6 GiB."""


class AccumulatedSystem:
    """(G + mu D^2) delta = -g with D^2 the diagonal of G.

    Args:
        equations: G = J^T J and g = J^T r of all rows.
    """

    def __init__(self, equations: NormalEquations) -> None:
        diagonal = equations.gram.diagonal().clamp_min(0.0).sqrt()
        self.norms = torch.where(diagonal > 0, diagonal, torch.ones_like(diagonal))
        self.gram = equations.gram / self.norms[:, None] / self.norms
        self.gradient = equations.right / self.norms

    def step(self, damping: float) -> tuple[torch.Tensor, float]:
        """Return the step and the decrease of half the sum of squares that the linear model predicts."""
        shifted = self.gram + damping * torch.eye(len(self.gram), dtype=self.gram.dtype, device=self.gram.device)
        factor, failed = torch.linalg.cholesky_ex(shifted)
        if int(failed):
            return torch.zeros_like(self.norms), 1.0
        scaled = -torch.cholesky_solve(self.gradient[:, None], factor)[:, 0]
        predicted = -float(self.gradient @ scaled) - 0.5 * float(scaled @ (self.gram @ scaled))
        return scaled / self.norms, predicted
