"""Laplace's equation on a square with round holes, constant values on the square and on the holes: a series with an error that is known.

    u = sum_m Re(a_m z^m) + sum_j (c_j log |z - z_j| + sum_k Re(b_jk (z - z_j)^-k)),   z = x + i y

Every term is harmonic outside of the discs, so that by the maximum principle the largest error on the boundary bounds the error everywhere. The
coefficients come from least squares on the boundary; the series is extended until the bound is met.

Reference: Trefethen (2018), Series solution of Laplace problems, ANZIAM Journal 60, 1-26.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ReferenceSolverError

RealArray = NDArray[Any]

# Polynomial degree and order of the poles; each step doubles the number of terms, the last one takes a few seconds.
_ORDERS = ((40, 15), (80, 30), (160, 40), (240, 80))
# Wanted, and accepted of the longest series: holes with narrow gaps need more terms.
_WANTED, _ACCEPTED = 1e-10, 1e-7
_CHUNK = 4096


@dataclass(frozen=True)
class PerforatedSquareField:
    """u on `(-half_side, half_side)^2` without discs, harmonic; callable at points.

    Attributes:
        half_side: of the square, centred at the origin.
        discs: (x, y, radius) of each hole.
        outer: value on the square.
        inner: value on the discs.
    """

    half_side: float
    discs: tuple[tuple[float, float, float], ...]
    outer: float
    inner: float

    def __call__(self, x: ArrayLike, y: ArrayLike) -> RealArray:
        """Values at points, broadcast."""
        z = np.asarray(x, dtype=float) + 1j * np.asarray(y, dtype=float)
        (degree, order), coefficients, _ = self._series
        flat = z.ravel()
        parts = [self._terms(flat[i : i + _CHUNK], degree, order) @ coefficients for i in range(0, len(flat), _CHUNK)]
        return np.concatenate(parts).reshape(z.shape) if parts else np.zeros(z.shape)

    @property
    def error_bound(self) -> float:
        """Largest error on a dense set of boundary points, which bounds the error inside."""
        return self._series[2]

    @cached_property
    def _series(self) -> tuple[tuple[int, int], RealArray, float]:
        """Orders, coefficients and error bound.

        Raises:
            ReferenceSolverError: the bound is not met: holes too close to each other or to the square.
        """
        bound = np.inf
        for degree, order in _ORDERS:
            points, values = self._boundary(4 * degree, 6 * order)
            terms = self._terms(points, degree, order)
            norms = np.linalg.norm(terms, axis=0)
            coefficients = np.linalg.lstsq(terms / norms, values, rcond=1e-15)[0] / norms
            # Other points than those of the fit, three times as many.
            points, values = self._boundary(12 * degree + 1, 18 * order + 1)
            bound = float(np.max(np.abs(self._terms(points, degree, order) @ coefficients - values)))
            size = max(abs(self.outer), abs(self.inner))
            if bound <= (_ACCEPTED if (degree, order) == _ORDERS[-1] else _WANTED) * size:
                return (degree, order), coefficients, bound
        raise ReferenceSolverError(
            f"the series of the square with {len(self.discs)} discs has the error {bound:.1e}; "
            f"expected below {_ACCEPTED:g} of the values: move the discs apart"
        )

    def _terms(self, z: NDArray[np.complex128], degree: int, order: int) -> RealArray:
        """Return all terms at points, (n_points, n_terms)."""
        columns = [np.ones((len(z), 1))]
        powers = (z[:, None] / (np.sqrt(2) * self.half_side)) ** np.arange(1, degree + 1)
        columns += [powers.real, powers.imag]
        for x, y, radius in self.discs:
            offset = z - (x + 1j * y)
            poles = (radius / offset[:, None]) ** np.arange(1, order + 1)
            columns += [np.log(np.abs(offset))[:, None], poles.real, poles.imag]
        return np.hstack(columns)

    def _boundary(self, n_side: int, n_disc: int) -> tuple[NDArray[np.complex128], RealArray]:
        """Points of the boundary, denser towards the corners, and the values there."""
        along = self.half_side * np.cos(np.pi * (np.arange(n_side) + 0.5) / n_side)
        edges = np.concatenate([along + 1j * self.half_side, along - 1j * self.half_side, self.half_side + 1j * along, -self.half_side + 1j * along])
        turn = np.exp(2j * np.pi * np.arange(n_disc) / n_disc)
        circles = [x + 1j * y + radius * turn for x, y, radius in self.discs]
        values = np.concatenate([np.full(len(edges), self.outer), np.full(n_disc * len(circles), self.inner)])
        return np.concatenate([edges, *circles]), values


def perforated_square(half_side: float, discs: Sequence[Sequence[float]], outer: float, inner: float) -> PerforatedSquareField:
    """Harmonic function on a square without discs, constant on the square and on the discs.

    Args:
        half_side: of the square, centred at the origin.
        discs: (x, y, radius) of each hole.
        outer: value on the square.
        inner: value on the discs.

    Raises:
        ReferenceSolverError: discs that touch each other or the square.
    """
    listed = tuple((float(x), float(y), float(radius)) for x, y, radius in discs)
    for index, (x, y, radius) in enumerate(listed):
        room = half_side - max(abs(x), abs(y)) - radius
        apart = [np.hypot(x - a, y - b) - radius - other for a, b, other in listed[:index]]
        if radius <= 0 or room <= 0 or any(gap <= 0 for gap in apart):
            raise ReferenceSolverError(f"the disc {listed[index]} touches the square of half side {half_side:g} or another disc; keep them apart")
    return PerforatedSquareField(float(half_side), listed, float(outer), float(inner))
