"""Unknowns on walls expressed by those inside, for the method of lines.

Input: the face conditions of one field, which are linear, a u + b du/dn = g(t) with a, b independent of time. Output: `Walls`, by which all values of
the field follow from the inner ones: u = E u_inner + W(t). The walls then hold at every instant and carry no differential equation of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as sparse_linalg
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.language import select_shot

from ..assembly import FaceRow
from ..evaluation import evaluator
from .tensor_operators import TensorGrid

Array = NDArray[Any]


class Walls:
    """The walls of one field on one grid.

    Args:
        rows: Dirichlet, Neumann and Robin faces; faces without a row stay unknowns.
        grid: of all fields.
        symbols: space coordinates, then the time.
        shot: whose data are taken.

    Attributes:
        inner: numbers of the nodes that are unknowns.
        expansion: E, (n_nodes, n_inner).
    """

    def __init__(self, rows: Sequence[FaceRow], grid: TensorGrid, symbols: tuple[Any, ...], shot: int) -> None:
        self._grid = grid
        space = symbols[:-1]
        owner = np.full(grid.size, -1)
        for number in sorted(range(len(rows)), key=lambda i: not rows[i].is_neumann):
            owner[grid.face(rows[number].axis, rows[number].side)] = number
        self.inner, self._wall = np.flatnonzero(owner == -1), np.flatnonzero(owner != -1)
        self._owner = owner[self._wall]
        total = sparse.csr_matrix((grid.size, grid.size))
        step = min(line.h for line in grid.lines)
        points = grid.points()
        self._scales = []
        for number, row in enumerate(rows):
            # Rows of one size, for the pivoting.
            self._scales.append(step if row.is_neumann else 1.0)
            owned = self._scales[-1] * (owner == number)
            factor, slope = (np.asarray(evaluator(e, space)(*points)) for e in (row.a, row.b))
            total = total + sparse.diags(owned * factor)
            if row.b != 0:
                index = tuple(int(axis == row.axis) for axis in range(len(space)))
                total = total + sparse.diags(owned * slope * row.side) @ grid.operator(index)
        lines = sparse.csr_matrix(total)[self._wall]
        identity = sparse.csr_matrix((np.ones(len(self.inner)), (self.inner, np.arange(len(self.inner)))), shape=(grid.size, len(self.inner)))
        self.expansion = identity
        if len(self._wall):
            self._factors = sparse_linalg.splu(sparse.csc_matrix(lines[:, self._wall]))
            self.expansion = sparse.csr_matrix(identity - self._scattered(self._solved(sparse.csc_matrix(lines[:, self.inner]))))
        self._data = [_in_time(select_shot(sp.sympify(row.value), shot), grid, symbols) for row in rows]
        self._slopes = [_in_time(sp.diff(select_shot(sp.sympify(row.value), shot), symbols[-1]), grid, symbols) for row in rows]

    def lifted(self, instant: float) -> Array:
        """W(t), (n_nodes,)."""
        return self._lift(self._data, instant)

    def lifted_slope(self, instant: float) -> Array:
        """dW/dt."""
        return self._lift(self._slopes, instant)

    def _lift(self, data: Sequence[Callable[[float], Array]], instant: float) -> Array:
        if not len(self._wall):
            return np.zeros(self._grid.size)
        values = np.stack([evaluate(instant) for evaluate in data])[:, self._wall]
        right = values[self._owner, np.arange(len(self._wall))] * np.asarray(self._scales)[self._owner]
        solved = self._factors.solve(right.real) + (1j * self._factors.solve(right.imag) if np.iscomplexobj(right) else 0)
        whole = np.zeros(self._grid.size, dtype=solved.dtype)
        whole[self._wall] = solved
        return whole

    def _solved(self, right: sparse.csc_matrix) -> sparse.csr_matrix:
        """Columns that are not empty, solved."""
        active = np.flatnonzero(np.diff(right.indptr))
        if not len(active):
            return sparse.csr_matrix(right.shape)
        solved = sparse.csr_matrix(self._factors.solve(right[:, active].toarray()))
        solved.data[np.abs(solved.data) < 1e-15 * max(float(np.max(np.abs(solved.data), initial=0.0)), 1e-300)] = 0
        solved.eliminate_zeros()
        place = sparse.csr_matrix((np.ones(len(active)), (np.arange(len(active)), active)), shape=(len(active), right.shape[1]))
        return sparse.csr_matrix(solved @ place)

    def _scattered(self, rows: sparse.csr_matrix) -> sparse.csr_matrix:
        place = sparse.csr_matrix((np.ones(len(self._wall)), (self._wall, np.arange(len(self._wall)))), shape=(self._grid.size, len(self._wall)))
        return sparse.csr_matrix(place @ rows)


def _in_time(expression: Any, grid: TensorGrid, symbols: tuple[Any, ...]) -> Callable[[float], Array]:
    """Values on all nodes as a function of time, evaluated once when the expression does not depend on it."""
    points = grid.points()
    if not expression.has(symbols[-1]):
        constant = np.asarray(evaluator(expression, symbols[:-1])(*points))
        return lambda instant: constant
    evaluate = evaluator(expression, symbols)
    return lambda instant: np.asarray(evaluate(*points, instant))
