"""Jets of features: partial derivatives of window(x) exp(i w . xi(x)) exp(-a . eta(x)) as polynomials in the local frequencies.

Input: a chart, the envelope of a field, and the multi-indices that residuals need. Output: `FeatureJets`. Every derivative of a feature is the
feature's exponential times a polynomial in kappa = (i w, -a) whose coefficients depend on the point only:

    P_0 = window * envelope,    P_(alpha + e_i) = d_i P_alpha + (sum_m kappa_m d_i zeta_m) P_alpha,    zeta = (xi, eta).

An operator applied to all features is therefore a product of two thin matrices times sines and cosines.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.ir import Chart, MultiIndex
from pinnsiren.language.numeric import evaluator

Monomial = tuple[int, ...]  # exponents of kappa, one per local coordinate


@dataclass(frozen=True)
class FeatureJets:
    """Compiled polynomials of one chart.

    Attributes:
        chart: the chart.
        polynomials: {multi-index: {monomial: position in the list of evaluated coefficients}}.
    """

    chart: Chart
    polynomials: dict[MultiIndex, dict[Monomial, int]]
    _coefficients: Any
    _local: Any

    def coefficients(self, points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Evaluate the coefficient functions, each (n_points,)."""
        return list(self._coefficients(self._regular(points)))

    def local(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return oscillating (n_points, n_xi) and decaying (n_points, n_eta) local coordinates."""
        values = np.stack(self._local(self._regular(points)), axis=1)
        n_oscillating = len(self.chart.coordinates)
        return values[:, :n_oscillating], values[:, n_oscillating:]

    def _regular(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return points if self.chart.grading is None else np.asarray(self.chart.grading.away(points))

    def operator(self, points: NDArray[np.float64], weights: dict[MultiIndex, NDArray[Any]]) -> dict[Monomial, NDArray[Any]]:
        """Combine derivatives with pointwise weights.

        Args:
            points: (n_points, n_coordinates), physical units.
            weights: {multi-index: (n_points,)}, the coefficients of a linear operator.

        Returns:
            {monomial: (n_points,)}: the operator's symbol as a polynomial in kappa.
        """
        evaluated = self.coefficients(points)
        symbol: dict[Monomial, NDArray[Any]] = {}
        for orders, weight in weights.items():
            for monomial, position in self.polynomials[orders].items():
                term = weight * evaluated[position]
                symbol[monomial] = symbol[monomial] + term if monomial in symbol else term
        return symbol


@lru_cache(maxsize=256)
def compile_jets(chart: Chart, envelope: Any, symbols: tuple[sp.Symbol, ...], needed: tuple[MultiIndex, ...]) -> FeatureJets:
    """Build the polynomials of every needed multi-index by the recursion of the module; kept, since every size of a run asks for the same."""
    zeta = (*chart.coordinates, *chart.decays)
    slopes = [[sp.diff(local, symbol) for symbol in symbols] for local in zeta]
    zero = (0,) * len(symbols)
    known: dict[MultiIndex, dict[Monomial, Any]] = {zero: {(0,) * len(zeta): sp.sympify(chart.window) * sp.sympify(envelope)}}

    def polynomial(orders: MultiIndex) -> dict[Monomial, Any]:
        if orders not in known:
            axis = next(index for index, count in enumerate(orders) if count)
            lower = tuple(count - (index == axis) for index, count in enumerate(orders))
            known[orders] = _differentiate(polynomial(lower), axis)
        return known[orders]

    def _differentiate(lower: dict[Monomial, Any], axis: int) -> dict[Monomial, Any]:
        result: dict[Monomial, Any] = {}
        for monomial, coefficient in lower.items():
            terms = [(monomial, sp.diff(coefficient, symbols[axis]))]
            for index, row in enumerate(slopes):
                raised = tuple(exponent + (position == index) for position, exponent in enumerate(monomial))
                terms.append((raised, row[axis] * coefficient))
            for key, term in terms:
                if term != 0:
                    result[key] = result.get(key, sp.Integer(0)) + term
        return result

    flat: list[Any] = []
    polynomials: dict[MultiIndex, dict[Monomial, int]] = {}
    for orders in needed:
        polynomials[orders] = {}
        for monomial, coefficient in polynomial(orders).items():
            polynomials[orders][monomial] = len(flat)
            flat.append(coefficient)
    return FeatureJets(chart, polynomials, evaluator(flat, symbols), evaluator(zeta, symbols))
