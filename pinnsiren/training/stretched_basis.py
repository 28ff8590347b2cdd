"""Products of sines and cosines along stretched axes: their matrices on grids and their values at points, axis by axis.

Input: per axis a coordinate, the step of its frequencies and the number of harmonics. Output: `ProductBasis` and, with coefficients, `ProductModel`.
On a grid the matrix of a derivative is a Kronecker product: n_1 + n_2 rows of sines are computed, not n_1 n_2, and an expansion is summed one axis
after the other. The span is that of the lattice `TensorSpectrum` on the chart `stretched_chart`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any, Protocol

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.charts.front_stretch import Stretch
from pinnsiren.ir import MultiIndex
from pinnsiren.language.heads import stretch_map
from pinnsiren.training.method import StateTree

Array = NDArray[np.float64]
CHUNK = 2**22  # numbers: points are taken in parts, so that memory stays bounded


class AxisCoordinate(Protocol):
    """A local coordinate of one axis."""

    def derivative(self, x: Array, order: int) -> Array:
        """Return the local coordinate (order 0) or one of its derivatives, (n,)."""


@dataclass(frozen=True)
class StretchedAxis:
    """The local coordinate of a stretch."""

    stretch: Stretch

    def derivative(self, x: Array, order: int) -> Array:
        """Return the local coordinate (order 0) or one of its derivatives, (n,)."""
        return self.stretch.local(x) if order == 0 else np.asarray(stretch_map(x, order, *self.stretch.parameters))


@dataclass(frozen=True)
class EvenAxis:
    """A scaled coordinate: -1 at `low`, 1 at `high`; that of time in a window."""

    low: float
    high: float

    def derivative(self, x: Array, order: int) -> Array:
        """Return the local coordinate (order 0) or one of its derivatives, (n,)."""
        half = 0.5 * (self.high - self.low)
        if order == 0:
            return (x - 0.5 * (self.low + self.high)) / half
        return np.full(len(x), 1 / half if order == 1 else 0.0)


@dataclass(frozen=True)
class AxisFunctions:
    """e(x) times 1, cos(k s xi), sin(k s xi) for k = 1, ..., n.

    Attributes:
        coordinate: x -> xi.
        step: s, lowest frequency in local units.
        harmonics: n.
        envelope: coefficients of the polynomial e, ascending; it vanishes where the field has to.
    """

    coordinate: AxisCoordinate
    step: float
    harmonics: int
    envelope: tuple[float, ...] = (1.0,)

    @property
    def n_functions(self) -> int:
        """Number of functions."""
        return 2 * self.harmonics + 1

    def values(self, x: Array, order: int) -> Array:
        """Return a derivative of all functions, (n, n_functions), by Leibniz' rule.

        With kappa = i k s, the derivatives of exp(kappa xi) are P_m exp(kappa xi): P_0 = 1, P_(m+1) = sum_j binomial(m, j) kappa xi^(j+1) P_(m-j).
        """
        kappa = 1j * self.step * np.arange(self.harmonics + 1)
        slopes = [np.outer(self.coordinate.derivative(x, j + 1), kappa) for j in range(order)]
        polynomials: list[Any] = [np.ones((len(x), 1))]
        for m in range(order):
            polynomials.append(sum(comb(m, j) * slopes[j] * polynomials[m - j] for j in range(m + 1)))
        factor, symbol = np.polynomial.Polynomial(self.envelope), 0.0
        for m in range(order + 1):
            slope = factor.deriv(order - m) if m < order else factor
            symbol = symbol + comb(order, m) * slope(x)[:, None] * polynomials[m]
        waves = symbol * np.exp(np.outer(self.coordinate.derivative(x, 0), kappa))
        return np.hstack([waves.real, waves.imag[:, 1:]])


@dataclass(frozen=True)
class ProductBasis:
    """All products of one function per axis, the last axis running fastest."""

    axes: tuple[AxisFunctions, ...]

    @property
    def n_features(self) -> int:
        """Number of products."""
        return int(np.prod(self.shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of functions per axis."""
        return tuple(axis.n_functions for axis in self.axes)

    def factors(self, lines: Sequence[Array], orders: MultiIndex) -> list[Array]:
        """Return a derivative of the functions of every axis at the points of a line along it, each (n_i, n_functions)."""
        return [axis.values(line, order) for axis, line, order in zip(self.axes, lines, orders, strict=True)]

    def evaluate(self, points: Array, orders: MultiIndex, coefficients: Array) -> Array:
        """Return a derivative of an expansion at any points, (n_points, 1).

        Args:
            points: (n_points, n_axes), physical units.
            orders: of the derivative.
            coefficients: (n_features, 1).
        """
        distinct = [np.unique(column, return_inverse=True) for column in points.T]  # most points lie on grids
        factors = self.factors([line for line, _ in distinct], orders)
        where = np.stack([index for _, index in distinct], axis=1)
        tensor, step = coefficients.reshape(self.shape), max(1, CHUNK // max(1, self.n_features // self.shape[0]))
        pieces = [_summed(factors, where[start : start + step], tensor) for start in range(0, len(points), step)]
        return np.concatenate(pieces)[:, None] if pieces else np.zeros((0, 1))


def separated(envelope: Any, symbols: Sequence[sp.Symbol]) -> tuple[tuple[float, ...], ...] | None:
    """Return the polynomial of every axis whose product is an envelope, coefficients ascending; None if it is no such product."""
    parts: list[Any] = [sp.Integer(1)] * len(symbols)
    for factor in sp.Mul.make_args(sp.sympify(envelope)):
        known = [index for index, symbol in enumerate(symbols) if factor.has(symbol)]
        if len(known) > 1 or factor.free_symbols - set(symbols):
            return None
        parts[known[0] if known else 0] *= factor
    if not all(part.is_polynomial(symbol) for part, symbol in zip(parts, symbols, strict=True)):
        return None
    return tuple(tuple(map(float, sp.Poly(part, symbol).all_coeffs()[::-1])) for part, symbol in zip(parts, symbols, strict=True))


def _summed(factors: Sequence[Array], where: NDArray[np.intp], tensor: Array) -> Array:
    """Return the sum over all products, (n_points,); `where` is the row of every factor per point."""
    # The first axis is summed at its distinct points only.
    rows, back = np.unique(where[:, 0], return_inverse=True)
    total = (factors[0][rows] @ tensor.reshape(len(tensor), -1))[back]
    for axis in range(1, len(factors)):
        chosen = factors[axis][where[:, axis]]
        total = np.matmul(chosen[:, None, :], total.reshape(len(where), chosen.shape[1], -1))[:, 0, :]
    return np.asarray(total[:, 0])


def kronecker(factors: Sequence[Array]) -> Array:
    """Return the matrix of all products on the grid of all lines, (n_1 n_2 ..., n_features)."""
    total = factors[0]
    for factor in factors[1:]:
        products = total[:, None, :, None] * factor[None, :, None, :]
        total = products.reshape(len(total) * len(factor), -1)
    return total


def on_grid(factors: Sequence[Array], coefficients: Array) -> Array:
    """Return an expansion on the grid of all lines, (n_1 n_2 ...,): the product of `kronecker` with the coefficients, one axis after the other."""
    total = coefficients.reshape([factor.shape[1] for factor in factors])
    for factor in factors:
        total = np.tensordot(total, factor, axes=(0, 1))  # the summed axis comes back as the last one: after all, the order is restored
    return np.asarray(total.ravel())


@dataclass(frozen=True)
class ProductModel:
    """A fitted expansion.

    Attributes:
        bases: per field.
        coefficients: per field (n_features, 1).
    """

    bases: tuple[ProductBasis, ...]
    coefficients: tuple[Array, ...]

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of a field, (n_points, 1)."""
        return self.bases[field_index].evaluate(points, orders, self.coefficients[field_index])

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """No scalars."""
        return ()

    def state(self) -> StateTree:
        """Return the coefficients; what the functions are is known to the window."""
        return {"coefficients": {f"{i}": c for i, c in enumerate(self.coefficients)}}
