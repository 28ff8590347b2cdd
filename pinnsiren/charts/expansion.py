"""Expansions in sine features on charts: matrices of operators applied to all features, on NumPy or torch arrays alike.

Input: compiled jets of each chart and its frequencies. Output: `FeatureBasis`; its `matrix` is one row per point and one column per feature.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.charts.jets import FeatureJets, Monomial, compile_jets
from pinnsiren.charts.spectra import Frequencies
from pinnsiren.ir import Chart, MultiIndex


@dataclass(frozen=True)
class FeatureBlock:
    """The features of one chart; each frequency vector gives a sine and a cosine."""

    jets: FeatureJets
    frequencies: Frequencies

    def matrix(self, points: NDArray[np.float64], weights: dict[MultiIndex, NDArray[Any]], xp: Any, convert: Callable[[Any], Any]) -> Any:
        """Apply sum_alpha weights[alpha] d^alpha to all features, shape (n_points, n_features).

        Args:
            points: (n_points, n_coordinates), physical units.
            weights: {multi-index: (n_points,)}.
            xp: array module, `numpy` or `torch`.
            convert: NumPy array -> array of that module.
        """
        xi, eta = self.jets.local(points)
        theta = convert(xi) @ convert(self.frequencies.waves.T.copy()) + convert(self.frequencies.phases)
        sine, cosine = xp.sin(theta), xp.cos(theta)
        if eta.shape[1]:
            decay = xp.exp(-(convert(eta) @ convert(self.frequencies.rates.T.copy())))
            sine, cosine = sine * decay, cosine * decay
        even, odd = self._symbols(self.jets.operator(points, weights), xi.shape[1], convert)
        if odd is None:
            return xp.hstack([sine * even, cosine * even])
        if even is None:
            return xp.hstack([cosine * odd, -(sine * odd)])
        return xp.hstack([sine * even + cosine * odd, cosine * even - sine * odd])

    def derivatives(self, points: NDArray[np.float64], orders: Sequence[MultiIndex], coefficients: NDArray[Any]) -> list[NDArray[Any]]:
        """Return several derivatives of the expansion, (n_points, n_shots) each; sines and cosines are computed once for all of them.

        A derivative is a sum over monomials of the chart's jets of a factor of the point times an expansion with changed coefficients, so that no
        matrix of the operator is ever formed.
        """
        xi, eta = self.jets.local(points)
        theta = xi @ self.frequencies.waves.T + self.frequencies.phases
        sine, cosine = np.sin(theta), np.cos(theta)
        if eta.shape[1]:
            decay = np.exp(-(eta @ self.frequencies.rates.T))
            sine, cosine = sine * decay, cosine * decay
        symbols = [self.jets.operator(points, {order: np.ones(len(points))}) for order in orders]
        parts = self._parts((sine, cosine), {monomial for symbol in symbols for monomial in symbol}, coefficients)
        results: list[NDArray[Any]] = []
        for symbol in symbols:
            total: NDArray[Any] = np.zeros((len(points), coefficients.shape[1]), dtype=np.result_type(coefficients, float))
            for monomial, coefficient in symbol.items():
                total = total + np.broadcast_to(coefficient, (len(points),))[:, None] * parts[monomial]
            results.append(total)
        return results

    def _parts(
        self, waves: tuple[NDArray[np.float64], NDArray[np.float64]], wanted: Iterable[Monomial], coefficients: NDArray[Any]
    ) -> dict[Monomial, NDArray[Any]]:
        """Return what each monomial makes of the expansion, (n_points, n_shots); even powers of i keep sines sines, odd ones exchange them."""
        (sine, cosine), shots, half = waves, coefficients.shape[1], len(self.frequencies.waves)
        found: dict[Monomial, NDArray[Any]] = {}
        for is_odd in (False, True):
            monomials = sorted(monomial for monomial in wanted if sum(monomial[: self.frequencies.waves.shape[1]]) % 2 == is_odd)
            if monomials:
                changed = [self._factor(monomial, self.frequencies.waves.shape[1])[:, None] for monomial in monomials]
                first, second = (np.concatenate([factor * part for factor in changed], axis=1) for part in (coefficients[:half], coefficients[half:]))
                product = _times(cosine, first) - _times(sine, second) if is_odd else _times(sine, first) + _times(cosine, second)
                found |= {monomial: product[:, k * shots : (k + 1) * shots] for k, monomial in enumerate(monomials)}
        return found

    def _factor(self, monomial: Monomial, n_oscillating: int) -> NDArray[np.float64]:
        """Return what a monomial makes of each frequency, (n_pairs,), signs of the powers of i included."""
        degree = sum(monomial[:n_oscillating])
        factor = np.full(len(self.frequencies.waves), (-1.0) ** (degree // 2))
        for index, exponent in enumerate(monomial):
            if exponent:
                column = self.frequencies.waves[:, index] if index < n_oscillating else -self.frequencies.rates[:, index - n_oscillating]
                factor = factor * column**exponent
        return factor

    def _symbols(self, symbol: dict[Monomial, NDArray[Any]], n_oscillating: int, convert: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Evaluate the operator's symbol: parts even and odd in i, each (n_points, n_pairs)."""
        groups: tuple[list[Any], list[Any]] = ([], [])
        for monomial, coefficient in symbol.items():
            groups[sum(monomial[:n_oscillating]) % 2].append((coefficient, self._factor(monomial, n_oscillating)))
        even, odd = (self._product(group, convert) for group in groups)
        return even, odd

    @staticmethod
    def _product(group: list[Any], convert: Callable[[Any], Any]) -> Any:
        if not group:
            return None
        left = np.stack([np.broadcast_to(coefficient, group[0][0].shape) for coefficient, _ in group], axis=1)
        right = np.stack([factor for _, factor in group], axis=0)
        kind = complex if np.iscomplexobj(left) else float
        left, right = left.astype(kind), right.astype(kind)
        return convert(left) @ convert(right)


def _times(left: NDArray[np.float64], right: NDArray[Any]) -> NDArray[Any]:
    """Return a real matrix times real or complex columns; NumPy alone would make the matrix complex, for twice the work."""
    if not np.iscomplexobj(right):
        return np.asarray(left @ right)
    product = left @ np.ascontiguousarray(right, dtype=np.complex128).view(np.float64)
    return product.view(np.complex128)


@dataclass(frozen=True)
class FeatureBasis:
    """Features of all charts for one field."""

    blocks: tuple[FeatureBlock, ...]

    @property
    def n_features(self) -> int:
        """Total number of columns."""
        return sum(block.frequencies.n_features for block in self.blocks)

    def matrix(
        self, points: NDArray[np.float64], weights: dict[MultiIndex, NDArray[Any]], xp: Any = np, convert: Callable[[Any], Any] = np.asarray
    ) -> Any:
        """Apply a linear operator to all features, shape (n_points, n_features)."""
        return xp.hstack([block.matrix(points, weights, xp, convert) for block in self.blocks])

    def evaluate(self, points: NDArray[np.float64], orders: MultiIndex, coefficients: NDArray[Any], chunk: int = 4096) -> NDArray[Any]:
        """Return a derivative of the expansion, (n_points, n_shots), in chunks so that memory stays bounded."""
        pieces = []
        for start in range(0, len(points), chunk):
            part = points[start : start + chunk]
            pieces.append(self.matrix(part, {orders: np.ones(len(part))}) @ coefficients)
        return np.concatenate(pieces) if pieces else np.zeros((0, coefficients.shape[1]), dtype=coefficients.dtype)

    def derivatives(
        self, points: NDArray[np.float64], orders: Sequence[MultiIndex], coefficients: NDArray[Any], chunk: int = 4096
    ) -> list[NDArray[Any]]:
        """Return several derivatives of the expansion, (n_points, n_shots) each, for little more than the price of one."""
        pieces: list[list[NDArray[Any]]] = [[np.zeros((0, coefficients.shape[1]), dtype=coefficients.dtype)] for _ in orders]
        ends = np.cumsum([0, *[block.frequencies.n_features for block in self.blocks]])
        for start in range(0, len(points), chunk):
            part = points[start : start + chunk]
            parts = [block.derivatives(part, orders, coefficients[a:b]) for block, a, b in zip(self.blocks, ends[:-1], ends[1:], strict=True)]
            for index, values in enumerate(zip(*parts, strict=True)):
                pieces[index].append(np.sum(values, axis=0))
        return [np.concatenate(values) for values in pieces]


def build_basis(
    charts: Sequence[Chart], frequencies: Sequence[Frequencies], envelope: Any, symbols: Sequence[sp.Symbol], needed: Sequence[MultiIndex]
) -> FeatureBasis:
    """Compile the jets of every chart for the multi-indices that residuals and evaluations need."""
    orders = tuple(needed)
    blocks = (FeatureBlock(compile_jets(chart, envelope, tuple(symbols), orders), drawn) for chart, drawn in zip(charts, frequencies, strict=True))
    return FeatureBasis(tuple(blocks))
