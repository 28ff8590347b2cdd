"""Cosine series through values on an even grid: the even interpolation of an image.

Input: evenly spaced positions and values. Output: a function of points and of orders of differentiation, with the calling convention of SciPy's
`NdBSpline`. Samples stand at the centres of cells; the series is even about the outer edges of the first and the last cell, and passes through
every sample:

    f(x) = sum_k c_k cos(pi k (x - low) / (high - low)),    k = 0 ... n - 1,    low = x_0 - h/2,    high = x_(n-1) + h/2

It is one smooth function, so that its derivatives at different places belong together, which those of a spline near the Nyquist frequency do not.
"""

from dataclasses import dataclass

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
    coefficients: NDArray[np.floating] | NDArray[np.complexfloating]

    def __call__(self, points: Array, nu: NDArray[np.int64]) -> NDArray[np.floating] | NDArray[np.complexfloating]:
        """Return values or partial derivatives.

        Args:
            points: (..., n_coordinates), physical units.
            nu: order of differentiation per coordinate.
        """
        flat = points.reshape(-1, points.shape[-1])
        shape = self.coefficients.shape
        result = np.zeros(len(flat), dtype=self.coefficients.dtype)
        chunk = max(1, CHUNK_ENTRIES // max(self.coefficients.size // shape[0], max(shape)))
        for start in range(0, len(flat), chunk):
            part = flat[start : start + chunk]
            tables = [cosines(part[:, i], *self.limits[i], shape[i], int(nu[i])) for i in range(len(shape))]
            total = np.tensordot(tables[0], self.coefficients, axes=1)
            for table in tables[1:]:
                total = np.einsum("pk,pk...->p...", table, total)
            result[start : start + chunk] = total
        return result.reshape(points.shape[:-1])


def cosine_series(axes: tuple[Array, ...], values: NDArray[np.floating] | NDArray[np.complexfloating]) -> CosineSeries:
    """Return the series through values on evenly spaced axes."""
    transformed = dctn(values.real, type=2) + 1j * dctn(values.imag, type=2) if np.iscomplexobj(values) else dctn(values, type=2)
    for dimension, count in enumerate(values.shape):
        # DCT-II sums 2 f_i cos(pi k (i + 1/2) / n); the inverse divides by n, and the constant once more by two.
        weights = np.full(count, 1.0 / count)
        weights[0] /= 2
        transformed = transformed * weights.reshape([-1 if axis == dimension else 1 for axis in range(values.ndim)])
    return CosineSeries(tuple(edges(axis) for axis in axes), transformed)
