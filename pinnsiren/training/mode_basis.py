"""Sine and cosine functions on an interval that satisfy the conditions of its two faces, orthonormal on their own nodes.

Input: limits and kinds of the faces (`wave_cell`: mirrors with and without change of sign, periodic). Output: `AxisBasis`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinnsiren.training.wave_cell import EVEN, ODD, PERIODIC

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AxisBasis:
    """factor_m sin(k_m (x - low) + phase_m), m = 0 .. n - 1.

    Attributes:
        low: position of the lower face.
        nodes: (n,), positions.
        waves: (n,), k_m.
        phases: (n,), 0 for sines and pi/2 for cosines.
        factors: (n,), so that the matrix of values on the nodes is orthogonal.
    """

    low: float
    nodes: Array
    waves: Array
    phases: Array
    factors: Array

    def values(self, positions: Array, order: int = 0) -> Array:
        """Return the functions or a derivative, (n_positions, n)."""
        angle = (positions[:, None] - self.low) * self.waves + self.phases + 0.5 * np.pi * order
        return np.asarray(self.factors * self.waves**order * np.sin(angle))

    def second_derivative(self) -> Array:
        """Return the matrix of -d^2/dx^2 on values at the nodes, symmetric, (n, n)."""
        matrix = self.values(self.nodes)
        return np.asarray((matrix * self.waves**2) @ matrix.T)


def axis_basis(low: float, high: float, kinds: tuple[int, int], n: int) -> AxisBasis:
    """Return n functions for the kinds of the faces; one less for u = 0 on both, an odd number for periodic faces."""
    length, index = high - low, np.arange(n, dtype=np.float64)
    middles: Array = low + (index + 0.5) * length / n
    if kinds == (ODD, ODD):
        return _basis(low, low + (index[1:]) * length / n, np.pi * index[1:] / length, np.zeros(n - 1))
    if kinds == (EVEN, EVEN):
        return _basis(low, middles, np.pi * index / length, np.full(n, 0.5 * np.pi))
    if kinds == (ODD, EVEN):
        return _basis(low, middles, np.pi * (index + 0.5) / length, np.zeros(n))
    if kinds == (EVEN, ODD):
        return _basis(low, middles, np.pi * (index + 0.5) / length, np.full(n, 0.5 * np.pi))
    assert kinds == (PERIODIC, PERIODIC)
    half = n // 2
    orders = np.concatenate([index[: half + 1], index[1 : half + 1]])
    phases = np.concatenate([np.full(half + 1, 0.5 * np.pi), np.zeros(half)])
    count = 2 * half + 1
    return _basis(low, low + np.arange(count, dtype=np.float64) * length / count, 2 * np.pi * orders / length, phases)


def _basis(low: float, nodes: Array, waves: Array, phases: Array) -> AxisBasis:
    plain = AxisBasis(low, nodes, waves, phases, np.ones(len(waves)))
    factors = 1 / np.linalg.norm(plain.values(nodes), axis=0)
    return AxisBasis(low, nodes, waves, phases, factors)
