"""Coefficient fields as expansions behind a bounded transform.

    a(x) = g(s(x)),   s = g^-1(initial) + window * sum_j theta_j phi_j,   low < g < high

g is the logistic function between two bounds, an exponential above or below one, the identity without. phi_j are sines and cosines in the
coefficient's own coordinates and a constant, so that derivatives of a follow from those of the features by the chain rule. Outside its support a
keeps its initial value; beyond the declared domain, in an absorbing layer, the value at the edge. Input: a compiled problem and the index of a
coefficient. Output: `CoefficientBasis`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy.special import expit

from pinnsiren.charts import bandwidth_for_features, draw_frequencies, features_for_bandwidth
from pinnsiren.charts.expansion import FeatureBasis, build_basis
from pinnsiren.charts.spectra import Frequencies
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import CompileError
from pinnsiren.ir import Chart, MultiIndex
from pinnsiren.language.domains import Box
from pinnsiren.language.numeric import evaluator
from pinnsiren.language.symbols import declaration_of

Array = NDArray[np.float64]
EDGE = 1e-3  # an initial value on a bound starts this share of the way inside: the logistic function is infinitely flat on the bound
LARGEST_EXPONENT = 60.0  # far beyond every coefficient in sensible units, far below overflow of its square
LARGEST_ORDER = 2  # of the derivatives of a coefficient


@dataclass(frozen=True)
class Transform:
    """g and its first three derivatives; see the module."""

    low: float
    high: float

    def inverse(self, value: Any) -> Any:
        """Return g^-1 of a SymPy expression."""
        if np.isfinite(self.low) and np.isfinite(self.high):
            share = EDGE + (1 - 2 * EDGE) * (value - sp.Float(self.low)) / sp.Float(self.high - self.low)
            return sp.log(share / (1 - share))
        if np.isfinite(self.low):
            return sp.log(value - sp.Float(self.low) + sp.Float(EDGE * max(abs(self.low), EDGE)))
        if np.isfinite(self.high):
            return -sp.log(sp.Float(self.high) - value + sp.Float(EDGE * max(abs(self.high), EDGE)))
        return value

    def derivatives(self, s: Array) -> tuple[Array, Array, Array, Array]:
        """Return g, g', g'', g''' at s."""
        if np.isfinite(self.low) and np.isfinite(self.high):
            # The inverse maps the closed interval into the open one, so that an initial value on a bound has a finite s.
            p = expit(s)
            q, width = p * (1 - p), (self.high - self.low) / (1 - 2 * EDGE)
            value = self.low + width * (p - EDGE)
            return np.clip(value, self.low, self.high), width * q, width * q * (1 - 2 * p), width * q * (1 - 6 * q)
        if np.isfinite(self.low):
            e = np.exp(np.minimum(s, LARGEST_EXPONENT))
            return np.maximum(self.low - EDGE * max(abs(self.low), EDGE) + e, self.low), e, e, e
        if np.isfinite(self.high):
            e = np.exp(np.minimum(-s, LARGEST_EXPONENT))
            return np.minimum(self.high + EDGE * max(abs(self.high), EDGE) - e, self.high), e, -e, e
        one, zero = np.ones_like(s), np.zeros_like(s)
        return s, one, zero, zero


@dataclass(frozen=True)
class CoefficientBasis:
    """The expansion of one coefficient field.

    Attributes:
        candidate: the applied symbol.
        own: positions of its coordinates among those of the domain.
        limits: (n_own, 2), the declared domain along them: beyond, the value at the edge continues.
        basis: the features, functions of all coordinates that vary along the own ones only.
        frequencies: of the features.
        transform: the map into the bounds.
        start: evaluator of g^-1(initial) and its derivatives, in the order of `orders`.
        orders: multi-indices up to `LARGEST_ORDER` along the own coordinates.
    """

    candidate: Any
    own: tuple[int, ...]
    limits: Array
    basis: FeatureBasis
    frequencies: Frequencies
    transform: Transform
    orders: tuple[MultiIndex, ...]
    start: Any

    @property
    def n_features(self) -> int:
        """Number of parameters."""
        return self.basis.n_features

    @cached_property
    def wavenumbers(self) -> Array:
        """Modulus of the frequency of every feature, in units of the coefficient's scaled coordinates."""
        moduli = np.linalg.norm(self.frequencies.waves, axis=1)
        return np.concatenate([moduli, moduli])

    def _clamped(self, points: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Return points with own coordinates moved into the declared domain, and which of the own axes were free, (n, n_own)."""
        moved = np.array(points)
        own = list(self.own)
        moved[:, own] = np.clip(points[:, own], self.limits[:, 0], self.limits[:, 1])
        slack = 1e-12 * (self.limits[:, 1] - self.limits[:, 0])
        return moved, np.abs(moved[:, own] - points[:, own]) <= slack

    def _active(self, points: Array) -> NDArray[np.bool_]:
        support = declaration_of(self.candidate).support
        return np.ones(len(points), dtype=bool) if support is None else support.contains(points[:, list(self.own)])

    def _inner(self, points: Array, theta: Array, wanted: tuple[MultiIndex, ...]) -> dict[MultiIndex, Array]:
        """Return s and its derivatives at clamped points."""
        active = self._active(points)
        starts = dict(zip(self.orders, self.start(points), strict=True))
        values = {}
        for orders in wanted:
            values[orders] = np.real(starts[orders]).astype(float)
            if np.any(active):
                values[orders][active] += self.basis.evaluate(points[active], orders, theta[:, None])[:, 0]
        return values

    def evaluate(self, points: Array, orders: MultiIndex, theta: Array) -> Array:
        """Return a derivative of the coefficient, (n_points,).

        Raises:
            CompileError: above second order.
        """
        weights = {orders: np.ones(len(points))}
        return np.asarray(self._combine(points, weights, theta)[0])

    def jacobian(self, points: Array, weights: Mapping[MultiIndex, NDArray[Any]], theta: Array) -> NDArray[Any]:
        """Return the derivative of sum_alpha weights[alpha] d^alpha a with respect to theta, (n_points, n_features)."""
        _, operator, moved, active = self._combine(points, weights, theta)
        kind = complex if any(np.iscomplexobj(weight) for weight in operator.values()) else float
        result = np.zeros((len(points), self.n_features), dtype=kind)
        if np.any(active):
            inside = {orders: weight[active] for orders, weight in operator.items()}
            result[active] = self.basis.matrix(moved[active], inside)
        return result

    def _combine(
        self, points: Array, weights: Mapping[MultiIndex, NDArray[Any]], theta: Array
    ) -> tuple[Any, dict[MultiIndex, NDArray[Any]], Array, NDArray[np.bool_]]:
        """Return sum weights d^alpha a, and the linear operator on the features that is its derivative, by the chain rule."""
        moved, free = self._clamped(points)
        wanted = self._needed(weights)
        s = self._inner(moved, theta, wanted)
        zero = (0,) * len(self.orders[0])
        g0, g1, g2, g3 = self.transform.derivatives(s[zero])
        total: Any = np.zeros(len(points))
        operator: dict[MultiIndex, Any] = {}

        def add(orders: MultiIndex, weight: Any) -> None:
            operator[orders] = operator[orders] + weight if orders in operator else weight

        for orders, given in weights.items():
            axes = [axis for axis, count in enumerate(orders) for _ in range(count)]
            weight = given
            for axis in axes:
                weight = weight * (free[:, self.own.index(axis)] if axis in self.own else 0.0)
            if not axes:
                total = total + weight * g0
                add(zero, weight * g1)
            elif len(axes) == 1:
                total = total + weight * g1 * s[orders]
                add(zero, weight * g2 * s[orders])
                add(orders, weight * g1)
            else:
                first, second = _unit(axes[0], len(orders)), _unit(axes[1], len(orders))
                total = total + weight * (g2 * s[first] * s[second] + g1 * s[orders])
                add(zero, weight * (g3 * s[first] * s[second] + g2 * s[orders]))
                add(first, weight * g2 * s[second])
                add(second, weight * g2 * s[first])
                add(orders, weight * g1)
        return total, operator, moved, self._active(moved)

    def _needed(self, weights: Mapping[MultiIndex, Any]) -> tuple[MultiIndex, ...]:
        wanted = {(0,) * len(self.orders[0])}
        for orders in weights:
            if sum(orders) > LARGEST_ORDER:
                text = f"a derivative of order {sum(orders)} of the coefficient field `{self.candidate}` occurs"
                raise CompileError(f"{text}; at most {LARGEST_ORDER} is supported")
            if any(count and axis not in self.own for axis, count in enumerate(orders)):
                continue
            wanted |= {orders, *(_unit(axis, len(orders)) for axis, count in enumerate(orders) if count)}
        return tuple(sorted(wanted))


def _unit(axis: int, dimension: int) -> MultiIndex:
    return tuple(int(index == axis) for index in range(dimension))


def coefficient_chart(compiled: CompiledProblem, index: int) -> tuple[Chart, Any]:
    """Return the scaled box of a coefficient's own coordinates, and the window that keeps it continuous at the edge of its support."""
    ir = compiled.ir
    candidate = ir.coefficients[index]
    declaration = declaration_of(candidate)
    bounds = (declaration.support or compiled.original.domain).bounds
    limits = np.array([bounds[symbol] for symbol in candidate.args], dtype=float)
    centre, half = limits.mean(axis=1), 0.5 * (limits[:, 1] - limits[:, 0])
    unit = float(np.max(half))
    units = np.full(len(half), unit) if _comparable(compiled, candidate) else half
    chart = Chart(
        name=f"coefficient {declaration.name}",
        reason="a coefficient field on its own coordinates",
        coordinates=tuple((s - sp.Float(float(c))) / sp.Float(float(u)) for s, c, u in zip(candidate.args, centre, units, strict=True)),
        window=sp.Integer(1),
        half_lengths=tuple(float(value) for value in half / units),
    )
    return chart, _window(compiled, index, limits)


def _comparable(compiled: CompiledProblem, candidate: Any) -> bool:
    """Whether the coordinates are lengths of one kind: time and space are not."""
    time = getattr(compiled.original.domain, "time", None)
    return time is None or time not in candidate.args


def _window(compiled: CompiledProblem, index: int, limits: Array) -> Any:
    """Return a factor that vanishes at the edge of the support where derivatives of the coefficient occur."""
    ir = compiled.ir
    candidate = ir.coefficients[index]
    support = declaration_of(candidate).support
    differentiated = any(jet.order for residual in compiled.programs for jet in residual.jets if jet.field == ir.n_fields + index)
    if support is None or not differentiated:
        return sp.Integer(1)
    if not isinstance(support, Box):
        raise CompileError(
            f"the coefficient field `{candidate}` is differentiated and has the support {support}; a support with derivatives has to be a Box, at "
            "whose faces the coefficient joins its initial value"
        )
    factors = [
        4 * (s - sp.Float(low)) * (sp.Float(high) - s) / sp.Float((high - low) ** 2) for s, (low, high) in zip(candidate.args, limits, strict=True)
    ]
    return sp.Mul(*factors)


def draw_coefficient(compiled: CompiledProblem, index: int, n_features: int, redundancy: float, seed: int) -> Frequencies:
    """Draw the frequencies of a coefficient: a filled ball, and a constant."""
    half_lengths = np.array(coefficient_chart(compiled, index)[0].half_lengths)
    return _drawn(n_features, len(half_lengths), bandwidth_for_features(n_features, redundancy, half_lengths), seed)


def draw_structures(compiled: CompiledProblem, index: int, wavenumber: float, redundancy: float, most: int, seed: int) -> Frequencies:
    """Draw frequencies up to a wavenumber in units of the coefficient's half length, or as far as a number of features reaches."""
    half_lengths = np.array(coefficient_chart(compiled, index)[0].half_lengths)
    bandwidth = min(wavenumber, bandwidth_for_features(most, redundancy, half_lengths))
    n_features = int(np.ceil(redundancy * features_for_bandwidth(bandwidth, half_lengths)))
    return _drawn(min(n_features, most), len(half_lengths), bandwidth, seed)


def _drawn(n_features: int, dimension: int, bandwidth: float, seed: int) -> Frequencies:
    drawn = draw_frequencies(n_features, dimension, bandwidth, seed)
    waves = np.concatenate([np.zeros((1, dimension)), drawn.waves])
    return Frequencies(waves, np.zeros((len(waves), 0)), np.concatenate([[0.0], drawn.phases]))


def build_coefficient(compiled: CompiledProblem, index: int, frequencies: Frequencies) -> CoefficientBasis:
    """Compile the expansion of a coefficient field."""
    ir = compiled.ir
    candidate = ir.coefficients[index]
    declaration = declaration_of(candidate)
    chart, window = coefficient_chart(compiled, index)
    own = tuple(ir.coordinates.index(symbol) for symbol in candidate.args)
    orders = _orders_along(own, len(ir.coordinates))
    transform = Transform(*declaration.bounds)
    inner = transform.inverse(declaration.initial)
    derivatives = [sp.diff(inner, *variables) if variables else inner for variables in (_variables(o, ir.coordinates) for o in orders)]
    bounds = compiled.original.domain.bounds
    return CoefficientBasis(
        candidate=candidate,
        own=own,
        limits=np.array([bounds[symbol] for symbol in candidate.args], dtype=float),
        basis=build_basis((chart,), (frequencies,), window, ir.coordinates, orders),
        frequencies=frequencies,
        transform=transform,
        orders=orders,
        start=evaluator(derivatives, ir.coordinates),
    )


def _orders_along(own: tuple[int, ...], dimension: int) -> tuple[MultiIndex, ...]:
    found: set[MultiIndex] = {(0,) * dimension}
    for _ in range(LARGEST_ORDER):
        found |= {tuple(c + (i == axis) for i, c in enumerate(orders)) for orders in found for axis in own}
    return tuple(sorted(found, key=lambda orders: (sum(orders), orders)))


def _variables(orders: MultiIndex, symbols: tuple[sp.Symbol, ...]) -> list[tuple[sp.Symbol, int]]:
    return [(symbol, order) for symbol, order in zip(symbols, orders, strict=True) if order]
