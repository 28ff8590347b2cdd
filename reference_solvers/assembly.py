"""The sparse system of one linear equation on a tensor grid with layers.

Input: `LinearForm`, axes, boundary rows. Output: matrix and right-hand sides. Derivatives are stretched, d/dx -> (1/e) d/dx: plain second
derivatives become u''/e^2 - e' u'/e^3 on nodes, fluxes `diag(outer/e) B diag(inner/e at half nodes) G` with the coefficient at half nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from .coefficients import FluxTerm, LinearForm
from .evaluation import Evaluator, cell_average, evaluator, flux_average, may_jump
from .layer import Axis
from .stencils import divergence_to_nodes, gradient_to_half_nodes, node_derivative

Array = NDArray[Any]


@dataclass(frozen=True)
class FaceRow:
    """`a u + b du/dn = value` on one face, n outward; expressions in the coordinates."""

    axis: int
    side: int
    a: Any
    b: Any
    value: Any

    @property
    def is_neumann(self) -> bool:
        """Whether u itself does not appear."""
        return bool(self.a == 0)


@dataclass(frozen=True)
class Grid:
    """Tensor grid in the order of the field's coordinates."""

    axes: tuple[Axis, ...]
    order: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of unknowns per axis, layers included."""
        return tuple(axis.n_nodes for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return int(np.prod(self.shape))

    @property
    def has_layers(self) -> bool:
        """Whether any face carries a layer."""
        return any(axis.strength and (axis.before or axis.behind) for axis in self.axes)

    @property
    def inside(self) -> tuple[slice, ...]:
        """The nodes of the declared box."""
        return tuple(axis.inside for axis in self.axes)

    def data_axes(self, half: int | None = None) -> list[NDArray[np.float64]]:
        """Positions where data are read, at half nodes along axis `half`."""
        return [a.clipped(a.half_nodes if i == half else a.nodes) for i, a in enumerate(self.axes)]

    def fold(self, values: Array) -> Array:
        """Values on all nodes, ends included, to values of the unknowns: where two ends are one point, the mean of both.

        Data that do not continue periodically jump there, and the mean keeps the second order.
        """
        for dimension, a in enumerate(self.axes):
            if a.joined:
                folded = np.array(np.delete(values, -1, axis=dimension))
                first, last = (np.take(values, end, axis=dimension) for end in (0, -1))
                folded[(slice(None),) * dimension + (0,)] = 0.5 * (first + last)
                values = folded
        return values

    def unfold(self, values: Array, leading: int = 0) -> Array:
        """Repeat the first node of every loop at its end; `leading` axes stand before those of the grid."""
        for dimension, a in enumerate(self.axes):
            if a.joined:
                values = np.concatenate([values, np.take(values, [0], axis=dimension + leading)], axis=dimension + leading)
        return values

    @property
    def inside_axes(self) -> tuple[NDArray[np.float64], ...]:
        """Positions of the nodes of the declared box, both ends included."""
        return tuple(a.closed_nodes[a.inside] for a in self.axes)

    def stretched_points(self) -> list[Array]:
        """Coordinates of all nodes, complex where a layer stretches them."""
        columns = [a.stretched(a.nodes) if self.has_layers else a.nodes for a in self.axes]
        return list(np.meshgrid(*columns, indexing="ij"))

    def expand(self, axis: int, matrix: Any) -> sparse.csr_matrix:
        """Kronecker product of a one-dimensional operator with identities along the other axes."""
        factors = [matrix if i == axis else sparse.identity(a.n_nodes) for i, a in enumerate(self.axes)]
        return sparse.csr_matrix(reduce(lambda p, q: sparse.kron(p, q, format="csr"), factors))

    def along(self, axis: int, values: Array) -> Array:
        """Values per node of one axis, shaped to broadcast over the grid."""
        shape = [1] * len(self.axes)
        shape[axis] = -1
        return values.reshape(shape)

    def slope(self, axis: int) -> sparse.csr_matrix:
        """Stretched first derivative on nodes."""
        a = self.axes[axis]
        return self.expand(axis, _scaled(node_derivative(a.n, a.h, self.order, periodic=a.joined), 1 / a.stretch(a.nodes), a))


def _scaled(matrix: Any, factors: Array, axis: Axis) -> sparse.csr_matrix:
    return sparse.csr_matrix(sparse.diags(factors if axis.strength else factors.real) @ matrix)


def operator_matrix(form: LinearForm, grid: Grid) -> sparse.csr_matrix:
    """The differential operator on all nodes; rows of boundary nodes are to be replaced."""
    total = sparse.csr_matrix((grid.size, grid.size))
    for term in form.fluxes:
        total = total + _flux_matrix(term, form.coordinates, grid)
    for index, coefficient in form.derivatives.items():
        matrix = _derivative_matrix(index, grid)
        total = total + sparse.diags(node_values(coefficient, form.coordinates, grid).ravel()) @ matrix
    return sparse.csr_matrix(total)


def node_values(expression: Any, coordinates: Sequence[Any], grid: Grid) -> Array:
    """A coefficient on the nodes: point values, cell means where it jumps."""
    evaluate = evaluator(expression, coordinates)
    if not may_jump(expression):
        return grid.fold(evaluate(*np.meshgrid(*[a.clipped(a.closed_nodes) for a in grid.axes], indexing="ij")))
    return cell_average(_clipped(evaluate, grid), [a.nodes for a in grid.axes], [a.h for a in grid.axes])


def _clipped(evaluate: Evaluator, grid: Grid) -> Evaluator:
    return lambda *points: evaluate(*[a.clipped(p) for a, p in zip(grid.axes, points, strict=True)])


def _derivative_matrix(index: tuple[int, ...], grid: Grid) -> Any:
    present = [axis for axis, count in enumerate(index) for _ in range(count)]
    if not present:
        return sparse.identity(grid.size, format="csr")
    if len(present) == 1:
        return grid.slope(present[0])
    if present[0] != present[1]:
        return grid.slope(present[0]) @ grid.slope(present[1])
    a = grid.axes[present[0]]
    e = a.stretch(a.nodes)
    second = _scaled(node_derivative(a.n, a.h, grid.order, 2, periodic=a.joined), 1 / e**2, a)
    bend = _scaled(node_derivative(a.n, a.h, grid.order, periodic=a.joined), a.stretch_slope(a.nodes) / e**3, a)
    return grid.expand(present[0], second - bend)


def _flux_matrix(term: FluxTerm, coordinates: Sequence[Any], grid: Grid) -> sparse.csr_matrix:
    outer: Any = sparse.diags(node_values(term.outer, coordinates, grid).ravel())
    if term.towards != term.along:
        # Mixed and zeroth-order fluxes stay on nodes.
        middle = sparse.diags(node_values(term.inner, coordinates, grid).ravel())
        towards = grid.slope(term.towards) if term.towards is not None else sparse.identity(grid.size)
        return sparse.csr_matrix(outer @ grid.slope(term.along) @ middle @ towards)
    a = grid.axes[term.along]
    evaluate = evaluator(term.inner, coordinates)
    if may_jump(term.inner):
        positions = [b.half_nodes if i == term.along else b.nodes for i, b in enumerate(grid.axes)]
        inner = flux_average(_clipped(evaluate, grid), positions, [b.h for b in grid.axes], term.along)
    else:
        inner = evaluate(*np.meshgrid(*grid.data_axes(term.along), indexing="ij"))
    to_half = gradient_to_half_nodes(a.n, a.h, grid.order, periodic=a.joined)
    to_nodes = divergence_to_nodes(a.n, a.h, grid.order, periodic=a.joined)
    gradient = grid.expand(term.along, _scaled(to_half, 1 / a.stretch(a.half_nodes), a))
    divergence = grid.expand(term.along, _scaled(to_nodes, 1 / a.stretch(a.nodes), a))
    return sparse.csr_matrix(outer @ divergence @ sparse.diags(inner.ravel()) @ gradient)


def boundary_rows(faces: Sequence[FaceRow], coordinates: Sequence[Any], grid: Grid) -> tuple[Array, sparse.csr_matrix]:
    """Owner of every node (index into `faces`, -2 inside, -1 the end of a layer) and the rows of the owned nodes.

    A node on two faces belongs to the one that fixes u, so that corners of Dirichlet faces keep their value.
    """
    owner = np.full(grid.shape, -2)
    ranked = sorted(range(len(faces)), key=lambda i: not faces[i].is_neumann)
    for number in ranked:
        owner[_face_index(faces[number].axis, faces[number].side, grid)] = number
    for axis, a in enumerate(grid.axes):
        for side, cells in ((-1, a.before), (1, a.behind)):
            # An extension without stretch carries a row of its own among `faces`.
            if cells and a.strength:
                owner[_face_index(axis, side, grid)] = -1
    flat = owner.ravel()
    step = min(a.h for a in grid.axes)
    # Scaled to the size of the other rows, 1/h^2, for the pivoting.
    rows = sparse.diags(np.where(flat == -1, 1 / step**2, 0.0))
    for number, face in enumerate(faces):
        owned = sparse.diags((flat == number).astype(float))
        factor, slope_factor = (sparse.diags(node_values(e, coordinates, grid).ravel()) for e in (face.a, face.b))
        scale = 1 / step if face.is_neumann else 1 / step**2
        row: Any = factor
        if face.b != 0:
            row = row + face.side * (slope_factor @ grid.slope(face.axis))
        rows = rows + scale * (owned @ row)
    return owner, sparse.csr_matrix(rows)


def boundary_scale(face: FaceRow, grid: Grid) -> float:
    """The factor that `boundary_rows` put before the rows of a face."""
    step = min(a.h for a in grid.axes)
    return 1 / step if face.is_neumann else 1 / step**2


def _face_index(axis: int, side: int, grid: Grid) -> tuple[Any, ...]:
    index: list[Any] = [slice(None)] * len(grid.axes)
    index[axis] = 0 if side < 0 else -1
    return tuple(index)
