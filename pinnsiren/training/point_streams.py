"""Streams of what a network is surrounded by: its inputs, and the envelopes that multiply it, as NumPy arrays at points.

Input: a layout and SymPy expressions of the coordinates. Output: (S, N, n_in) input streams and, per envelope, the matrices (S, S, N) that make
streams of envelope * v from the streams of v (Leibniz).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.ir import MultiIndex
from pinnsiren.language.numeric import evaluator


class PointStreams:
    """Streams of inputs and envelopes in one layout of closed streams.

    Args:
        layout: the streams.
        symbols: the coordinates.
        inputs: expressions that the network takes.
        envelopes: one expression per field.
    """

    def __init__(self, layout: StreamLayout, symbols: tuple[sp.Symbol, ...], inputs: Sequence[Any], envelopes: Sequence[Any]) -> None:
        self.layout = layout
        self._inputs = _StreamEvaluator(inputs, symbols, layout)
        self._envelopes = [None if envelope == 1 else _StreamEvaluator((envelope,), symbols, layout) for envelope in envelopes]

    def inputs(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (S, N, n_in)."""
        return self._inputs(points)

    def envelopes(self, points: NDArray[np.float64]) -> list[NDArray[np.float64] | None]:
        """Return per field (S, S, N), or None where the envelope is 1."""
        return [None if evaluate is None else product_matrices(evaluate(points)[:, :, 0], self.layout) for evaluate in self._envelopes]


class _StreamEvaluator:
    """Streams of expressions of the coordinates, double precision."""

    def __init__(self, expressions: Sequence[Any], symbols: tuple[sp.Symbol, ...], layout: StreamLayout) -> None:
        flat: list[Any] = []
        for expression in map(sp.sympify, expressions):
            flat.append(expression)
            for stream in layout.closed:
                flat.append(sp.Add(*[sp.Float(c) * _differentiate(expression, symbols, orders) for orders, c in stream.operator]))
        self._size, self._count = layout.size, len(expressions)
        self._evaluate = evaluator(flat, symbols)

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (S, N, n_expressions)."""
        values = np.stack(self._evaluate(points), axis=0).real
        return np.ascontiguousarray(values.reshape(self._count, self._size, len(points)).transpose(1, 2, 0))


def _differentiate(expression: Any, symbols: tuple[sp.Symbol, ...], orders: MultiIndex) -> Any:
    for symbol, count in zip(symbols, orders, strict=True):
        expression = expression.diff(symbol, count) if count else expression
    return expression


def product_matrices(envelope: NDArray[np.float64], layout: StreamLayout) -> NDArray[np.float64]:
    """Return (S, S, N): streams of envelope * v as combinations of the streams of v.

    D_k (e v) = e D_k v + (D_k e) v + sum_ij m_ij (D_i e) (D_j v), where m_ij are the products of two in the chain rule of D_k.

    Args:
        envelope: (S, N), streams of e.
        layout: the streams.
    """
    size, n_points = envelope.shape
    matrices = np.zeros((size, size, n_points))
    matrices[range(size), range(size)] = envelope[0]
    matrices[1:, 0] = envelope[1:]
    for k, stream in enumerate(layout.closed, start=layout.closed_start):
        for product in stream.products:
            if len(product.factors) == 2:
                first, second = product.factors
                matrices[k, second] += product.coefficient * envelope[first]
                matrices[k, first] += product.coefficient * envelope[second]
    return matrices
