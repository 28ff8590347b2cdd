"""Cosine series through values on an even grid: the even interpolation of an image.

Input: evenly spaced positions and values. Output: a function of points and of orders of differentiation, with the calling convention of SciPy's
`NdBSpline`. Samples stand at the centres of cells; the series is even about the outer edges of the first and the last cell, and passes through
every sample:

    f(x) = sum_k c_k cos(pi k (x - low) / (high - low)),    k = 0 ... n - 1,    low = x_0 - h/2,    high = x_(n-1) + h/2

It is one smooth function, so that its derivatives at different places belong together, which those of a spline near the Nyquist frequency do not.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

CHUNK_ENTRIES = 4_000_000  # products held at once: 32 MB of doubles
EVENNESS = 1e-6  # relative to the spacing: positions that were computed or read from text

Array = NDArray[np.float64]


def cosines(points: Array, low: float, high: float, n_terms: int, order: int) -> Array:
    """Return a derivative of cos(pi k (x - low) / (high - low)) for k = 0 ... n_terms - 1, shape (n_points, n_terms).

    >>> np.round(cosines(np.array([0.5]), 0.0, 1.0, 3, 0), 12) + 0.0
    array([[ 1.,  0., -1.]])
    """
    waves = np.pi * np.arange(n_terms) / (high - low)
    angles = (np.asarray(points, dtype=float) - low)[:, None] * waves
    values = (np.cos(angles), -np.sin(angles), -np.cos(angles), np.sin(angles))[order % 4]
    return np.asarray(values * waves**order if order else values)


def is_even(axis: Array) -> bool:
    """Whether positions are evenly spaced."""
    steps = np.diff(axis)
    return bool(np.ptp(steps) <= EVENNESS * float(np.mean(steps)))


def edges(axis: Array) -> tuple[float, float]:
    """Return the outer edges of the first and the last cell."""
    half = 0.5 * float(axis[-1] - axis[0]) / (len(axis) - 1)
    return float(axis[0]) - half, float(axis[-1]) + half


@dataclass(frozen=True)
class CosineSeries:
    """A tensor-product cosine series.

    Attributes:
        limits: (low, high) per coordinate, the planes about which the series is even.
        coefficients: of the products of cosines, one axis per coordinate.
    """

    limits: tuple[tuple[float, float], ...]
    coefficients: NDArray[Any]

    def __call__(self, points: Array, nu: NDArray[np.int64]) -> NDArray[Any]:
        """Return values or partial derivatives.

        Args:
            points: (..., n_coordinates), physical units.
            nu: order of differentiation per coordinate.
        """
        flat = points.reshape(-1, points.shape[-1])
        shape = self.coefficients.shape
        lines = _lines(points)
        if lines is not None:
            total = self.coefficients
            for i, line in enumerate(lines):
                total = np.tensordot(total, cosines(line, *self.limits[i], shape[i], int(nu[i])), axes=(0, 1))
            return np.asarray(total)
        return self._scattered(flat, nu).reshape(points.shape[:-1])

    def _scattered(self, points: Array, nu: NDArray[np.int64]) -> NDArray[Any]:
        """Return values at points (n, n_coordinates), coordinates that all points share first: points on a face are common."""
        shape = self.coefficients.shape
        order = sorted(range(len(shape)), key=lambda i: not _is_constant(points[:, i]))
        coefficients = np.transpose(self.coefficients, order)
        while len(order) > 1 and len(points) and _is_constant(points[:, order[0]]):
            i = order.pop(0)
            coefficients = np.tensordot(cosines(points[:1, i], *self.limits[i], shape[i], int(nu[i]))[0], coefficients, axes=1)
        result = np.zeros(len(points), dtype=coefficients.dtype)
        chunk = max(1, CHUNK_ENTRIES // max(coefficients.size // coefficients.shape[0], max(coefficients.shape)))
        for start in range(0, len(points), chunk):
            part = points[start : start + chunk]
            tables = [cosines(part[:, i], *self.limits[i], shape[i], int(nu[i])) for i in order]
            total = np.tensordot(tables[0], coefficients, axes=1)
            for table in tables[1:]:
                total = np.einsum("pk,pk...->p...", table, total)
            result[start : start + chunk] = total
        return result


def _is_constant(column: Array) -> bool:
    return bool(len(column)) and bool(np.all(column == column[0]))


def _lines(points: Array) -> list[Array] | None:
    """Return the axes of points that form a grid, (n_1, ..., n_d, d) with coordinate i along axis i, else None."""
    dimension = points.shape[-1]
    if points.ndim != dimension + 1 or 0 in points.shape:
        return None
    lines = []
    for i in range(dimension):
        line = points[tuple(slice(None) if axis == i else slice(0, 1) for axis in range(dimension))][..., i]
        if not np.all(points[..., i] == line):
            return None
        lines.append(line.ravel())
    return lines


def cosine_series(axes: tuple[Array, ...], values: NDArray[Any]) -> CosineSeries:
    """Return the series through values on evenly spaced axes."""
    transformed = dctn(values.real, type=2) + 1j * dctn(values.imag, type=2) if np.iscomplexobj(values) else dctn(values, type=2)
    for dimension, count in enumerate(values.shape):
        # DCT-II sums 2 f_i cos(pi k (i + 1/2) / n); the inverse divides by n, and the constant once more by two.
        weights = np.full(count, 1.0 / count)
        weights[0] /= 2
        transformed = transformed * weights.reshape([-1 if axis == dimension else 1 for axis in range(values.ndim)])
    return CosineSeries(tuple(edges(axis) for axis in axes), transformed)
