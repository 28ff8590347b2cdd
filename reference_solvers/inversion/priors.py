"""What is believed of the medium before the data: few edges (total variation), or smoothness (Tikhonov).

Input: squared slowness relative to a reference, (n_x, n_y). Output: value and gradient. Both are dimensionless:

    TV = int |grad m| dx / sqrt(area),  smoothed:  |grad m| -> sqrt(|grad m|^2 + (smoothing/h)^2) - smoothing/h
    Tikhonov = 1/2 int |grad (m - m_start)|^2 dx
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from ..frequency_domain import Grid

Array = NDArray[Any]


def gradient_matrices(grid: Grid) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Forward differences along x and y at all nodes, zero behind the last, per unit length: (n_nodes, n_nodes) each."""
    lines: list[sparse.csr_matrix] = []
    for n, h in zip(grid.shape, grid.step, strict=True):
        main = np.full(n, -1.0 / h)
        main[-1] = 0
        diagonals: Any = [main, np.full(n - 1, 1.0 / h)]
        lines.append(sparse.csr_matrix(sparse.diags(diagonals, [0, 1])))
    x = sparse.kron(lines[0], sparse.identity(grid.shape[1]))
    y = sparse.kron(sparse.identity(grid.shape[0]), lines[1])
    return sparse.csr_matrix(x), sparse.csr_matrix(y)


@dataclass(frozen=True, kw_only=True)
class TotalVariation:
    """Smoothed isotropic total variation.

    Attributes:
        smoothing: differences between neighbouring nodes below it, relative to the reference, count as smooth.
        of_change: of the change from the start, which keeps the trend of a smooth start; of the model itself when False. The same for uniform
            starts.
    """

    smoothing: float = 0.005
    of_change: bool = True

    def value_and_gradient(self, model: Array, start: Array, grid: Grid) -> tuple[float, Array]:
        """Value, and derivative per node."""
        x, y = _differences(model - start if self.of_change else model, grid)
        floor = self.smoothing / float(np.sqrt(grid.step[0] * grid.step[1]))
        length = np.sqrt(x**2 + y**2 + floor**2)
        factor = grid.step[0] * grid.step[1] / float(np.sqrt(_area(grid)))
        return factor * float(np.sum(length - floor)), factor * _transposed_differences(x / length, y / length, grid)


@dataclass(frozen=True)
class Tikhonov:
    """Squared gradient of the change from the start."""

    def value_and_gradient(self, model: Array, start: Array, grid: Grid) -> tuple[float, Array]:
        """Value, and derivative per node."""
        x, y = _differences(model - start, grid)
        factor = grid.step[0] * grid.step[1]
        return factor * float(np.sum(x**2 + y**2)) / 2, factor * _transposed_differences(x, y, grid)


Prior = TotalVariation | Tikhonov


def _area(grid: Grid) -> float:
    return float(np.prod([high - low for low, high in zip(grid.low, grid.high, strict=True)]))


def _differences(model: Array, grid: Grid) -> tuple[Array, Array]:
    x, y = np.zeros_like(model), np.zeros_like(model)
    x[:-1] = np.diff(model, axis=0) / grid.step[0]
    y[:, :-1] = np.diff(model, axis=1) / grid.step[1]
    return x, y


def _transposed_differences(x: Array, y: Array, grid: Grid) -> Array:
    total = np.zeros_like(x)
    total[1:] += x[:-1] / grid.step[0]
    total[:-1] -= x[:-1] / grid.step[0]
    total[:, 1:] += y[:, :-1] / grid.step[1]
    total[:, :-1] -= y[:, :-1] / grid.step[1]
    return total
