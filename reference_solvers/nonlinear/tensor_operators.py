"""Difference operators on a tensor grid of plain or periodic axes, for the solvers of nonlinear problems.

Input: limits, number of cells, order. Output: `TensorGrid`, which gives a sparse matrix per derivative: nodes to nodes, nodes to points between the
nodes of one axis (where fluxes live), and back. A periodic axis keeps one of its two equal ends and needs no closure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError

from ..stencils import divergence_to_nodes, finite_difference_weights, gradient_to_half_nodes, node_derivative

Array = NDArray[Any]


@dataclass(frozen=True)
class Line:
    """Nodes of one coordinate.

    Attributes:
        low, high: the declared interval, extended by `before` and `behind` cells of the same size.
        cells: in the declared interval.
        order: of the differences.
        periodic: whether both ends are one point.
    """

    low: float
    high: float
    cells: int
    order: int
    periodic: bool = False
    before: int = 0
    behind: int = 0

    @property
    def h(self) -> float:
        """Step."""
        return (self.high - self.low) / self.cells

    @property
    def n(self) -> int:
        """Number of cells."""
        return self.before + self.cells + self.behind

    @property
    def nodes(self) -> Array:
        """Positions of the unknowns."""
        return self.low + self.h * (np.arange(self.n + (not self.periodic)) - self.before)

    @property
    def half_nodes(self) -> Array:
        """Positions between the nodes."""
        return self.low + self.h * (np.arange(self.n) + 0.5 - self.before)

    def derivative(self, count: int) -> sparse.csr_matrix:
        """Derivative on the nodes."""
        if count == 0:
            return sparse.identity(len(self.nodes), format="csr")
        if self.periodic:
            # Symmetric: `order + 1` points serve the first two derivatives, two more every two further.
            reach = self.order // 2 + (count - 1) // 2
            return self._circulant(np.arange(-reach, reach + 1), count)
        if count > 2:
            raise ReferenceSolverError(f"a derivative of order {count} needs a periodic axis; between walls two is the highest supported")
        return node_derivative(self.n, self.h, self.order, count)

    def to_half(self, count: int) -> sparse.csr_matrix:
        """Values (count 0) or first derivative (count 1) between the nodes."""
        if self.periodic:
            return self._circulant(np.arange(self.order) - self.order // 2 + 1, count, shift=0.5)
        return gradient_to_half_nodes(self.n, self.h, self.order) if count else self._interpolation()

    def divergence(self) -> sparse.csr_matrix:
        """First derivative on the nodes of values between them."""
        if self.periodic:
            # The half node of index j lies half a step behind node j.
            return self._circulant(np.arange(self.order) - self.order // 2, 1, shift=-0.5)
        return divergence_to_nodes(self.n, self.h, self.order)

    def _circulant(self, offsets: Array, count: int, shift: float = 0.0) -> sparse.csr_matrix:
        size = len(self.nodes)
        if size < len(offsets):
            raise ReferenceSolverError(f"{size} points of a periodic axis cannot carry a difference of {len(offsets)} points; use more")
        weights = finite_difference_weights(shift, offsets.astype(float), count) / self.h**count
        rows = np.repeat(np.arange(size), len(offsets))
        columns = (np.arange(size)[:, None] + offsets[None, :]) % size
        return sparse.csr_matrix((np.tile(weights, size), (rows, columns.ravel())), shape=(size, size))

    def _interpolation(self) -> sparse.csr_matrix:
        """Mean of the neighbours to the order of the scheme, one-sided near the ends."""
        first = np.clip(np.arange(self.n) - self.order // 2 + 1, 0, self.n + 1 - self.order)
        targets = np.arange(self.n) + 0.5 - first
        known = {t: finite_difference_weights(t, np.arange(self.order, dtype=float), 0) for t in set(targets.tolist())}
        entries = np.concatenate([known[t] for t in targets.tolist()])
        rows = np.repeat(np.arange(self.n), self.order)
        columns = (first[:, None] + np.arange(self.order)[None, :]).ravel()
        return sparse.csr_matrix((entries, (rows, columns)), shape=(self.n, self.n + 1))


class TensorGrid:
    """Tensor product of lines; unknowns numbered in C order."""

    def __init__(self, lines: tuple[Line, ...]) -> None:
        self.lines = lines
        self.shape = tuple(len(line.nodes) for line in lines)
        self.size = int(np.prod(self.shape))
        self._operators: dict[Any, sparse.csr_matrix] = {}

    @property
    def inside(self) -> tuple[slice, ...]:
        """The nodes of the declared box."""
        return tuple(slice(line.before, line.before + line.cells + (not line.periodic)) for line in self.lines)

    def axes(self, half: int | None = None) -> list[Array]:
        """Positions along every axis, between the nodes along axis `half`."""
        return [line.half_nodes if axis == half else line.nodes for axis, line in enumerate(self.lines)]

    def points(self, half: int | None = None) -> list[Array]:
        """Flat coordinates."""
        return [p.ravel() for p in np.meshgrid(*self.axes(half), indexing="ij")]

    def operator(self, index: tuple[int, ...], half: int | None = None) -> sparse.csr_matrix:
        """A derivative by multi-index, on the nodes or between the nodes along axis `half`."""
        key = (index, half)
        if key not in self._operators:
            counted = enumerate(zip(self.lines, index, strict=True))
            self._operators[key] = _product([line.to_half(count) if axis == half else line.derivative(count) for axis, (line, count) in counted])
        return self._operators[key]

    def divergence(self, along: int) -> sparse.csr_matrix:
        """Derivative along an axis of values between its nodes."""
        key = ("divergence", along)
        if key not in self._operators:
            self._operators[key] = _product([line.divergence() if axis == along else line.derivative(0) for axis, line in enumerate(self.lines)])
        return self._operators[key]

    def face(self, axis: int, side: int) -> Array:
        """Numbers of the unknowns on a face."""
        numbers = np.arange(self.size).reshape(self.shape)
        return np.asarray(np.take(numbers, 0 if side < 0 else -1, axis=axis).ravel())

    def wrapped(self, values: Array) -> tuple[Array, list[Array]]:
        """Values on the declared box with both ends of periodic axes (trailing axes are kept), and the positions."""
        result = values[self.inside]
        positions = []
        for axis, line in enumerate(self.lines):
            nodes = line.nodes[self.inside[axis]]
            if line.periodic:
                result = np.concatenate([result, np.take(result, [0], axis=axis)], axis=axis)
                nodes = np.append(nodes, line.high)
            positions.append(nodes)
        return result, positions


def _product(factors: list[sparse.csr_matrix]) -> sparse.csr_matrix:
    return sparse.csr_matrix(reduce(lambda p, q: sparse.kron(p, q, format="csr"), factors))
