"""The sparse system of one linear second-order equation on a cut grid.

Input: `LinearForm`, `CutGrid`, conditions per boundary part. Output: matrix and right-hand sides. Between arms of lengths a (behind) and b (before),

    d/dx (A du/dx) = 2 / (a + b) (A(x + b/2) (u_b - u) / b - A(x - a/2) (u - u_a) / a),

Shortley and Weller's formula for A = 1; first derivatives are the three-point ones, exact for parabolas. This is of second order where values are
given on the boundary. A node with an arm to a boundary point where a slope is given takes its row from a polynomial of degree 4 instead, fitted to
the nodes nearby and to the conditions on the boundary nearby, along the exact normal.

Reference: Shortley, Weller (1938), J. Appl. Phys. 9:334; Matsunaga, Yamamoto (2000), J. Comput. Appl. Math. 116:263 for its second order;
Tiwari, Kuhnert (2003), LNCSE 26:373 for conditions inside the fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from numpy.typing import NDArray
from scipy.spatial import KDTree

from pinnsiren.language import AbstractDomain, NormalComponent, expand_operators, select_shot

from .coefficients import LinearForm
from .cut_grid import CutGrid
from .evaluation import Evaluator, evaluator
from .local_polynomials import LocalPolynomials, MultiIndex, PointConditions, Weights, nearest

Array = NDArray[Any]

# The error of a fitted second derivative is then of order 3 and lives on a layer one step wide: of order 4 in the solution.
FIT_DEGREE = 4
# Near re-entrant corners, where fits reach around the corner, those of degree 4 may tie the nodes so loosely that the system is close to singular.
# Parabolas do not, and on so few nodes their error, of order 1, adds one of order 3; solutions are rarely smooth there anyway.
CORNER_DEGREE = 2
_CORNER_COSINE = 0.7
_CORNER_BEND = 0.1
_CORNER_CONDITIONS = 10


@dataclass(frozen=True)
class PartRow:
    """`a u + b du/dn = value` on one boundary part, n outward; expressions in the coordinates."""

    part: str
    a: Any
    b: Any
    value: Any

    @property
    def is_dirichlet(self) -> bool:
        """Whether the value itself is given."""
        return bool(self.b == 0)

    @property
    def is_neumann(self) -> bool:
        """Whether u itself does not appear."""
        return bool(self.a == 0)


@dataclass(frozen=True)
class BoundaryData:
    """The conditions at the boundary points of a grid.

    Attributes:
        given: (n_boundary,), whether the value itself is given.
        conditions: a, b and the normal at every boundary point.
        data: (n_boundary, n_shots).
    """

    given: Array
    conditions: PointConditions
    data: Array


@dataclass(frozen=True)
class Discretisation:
    """One equation on one grid; rows and unknowns are the nodes inside, then the boundary points.

    Attributes:
        matrix: with rows of size one.
        right: (n_unknowns, n_shots).
        row_scale: (n_nodes,), what the equation was multiplied with at the nodes.
    """

    matrix: sparse.csr_matrix
    right: Array
    row_scale: Array


def discretise(form: LinearForm, rows: Sequence[PartRow], domain: AbstractDomain, grid: CutGrid) -> Discretisation:
    """Assemble matrix and right-hand sides."""
    data = boundary_data(form, rows, domain, grid)
    sources = np.stack([expression_at(source, form, grid.nodes) for source in form.source], axis=-1)
    operator = operator_rows(form, grid)
    identity = sparse.identity(len(grid.boundary), format="csr")
    boundary = sparse.hstack([sparse.csr_matrix((len(grid.boundary), len(grid.nodes))), identity], format="csr")
    values = np.where(data.given[:, None], data.data / np.where(data.given, data.conditions.a, 1)[:, None], 0)
    fitted = fitted_nodes(form, grid, data.given)
    if len(fitted) or not np.all(data.given):
        operator, sources, boundary, values = _with_fits(form, grid, data, fitted, operator, sources, boundary, values)
    # Rows beside the boundary hold 1/arm^2: all are brought to one size, or the pivoting would look at them alone.
    scale = 1 / np.maximum(abs(operator).max(axis=1).toarray().ravel(), 1e-300)
    matrix = sparse.vstack([sparse.diags(scale) @ operator, boundary], format="csr")
    return Discretisation(matrix, np.concatenate([scale[:, None] * sources, values]), scale)


def _with_fits(
    form: LinearForm, grid: CutGrid, data: BoundaryData, fitted: Array, operator: Any, sources: Array, boundary: Any, values: Array
) -> tuple[Any, Array, Any, Array]:
    """Replace the rows of the fitted nodes, and tie the boundary points without a given value to what is nearby."""
    n_nodes, free = len(grid.nodes), np.flatnonzero(~data.given)
    # Values are known, or solved for, at the nodes and where the boundary gives them.
    carriers = np.concatenate([np.arange(n_nodes), n_nodes + np.flatnonzero(data.given)])
    some = PointConditions(*(array[free] for array in (grid.boundary, data.conditions.a, data.conditions.b, data.conditions.normals)))
    kept = np.ones(n_nodes)
    kept[fitted] = 0
    operator = sparse.diags(kept) @ operator
    derivatives = pointwise_coefficients(form)
    corner, corner_free = (_beside_corners(grid.points[n], data.conditions) for n in (fitted, n_nodes + free))
    for degree in (FIT_DEGREE, CORNER_DEGREE):
        fits = LocalPolynomials(grid.points[carriers], degree, some if len(free) else None)
        mine = fitted[corner == (degree == CORNER_DEGREE)]
        whole = {index: expression_at(coefficient, form, grid.nodes[mine]) for index, coefficient in derivatives.items()}
        weights, shift = _scattered(fits.functionals(grid.nodes[mine], whole), mine, carriers, operator.shape, data.data[free])
        operator = operator + weights
        sources = _filled(sources, mine, sources[mine] - shift)
        mine = free[corner_free == (degree == CORNER_DEGREE)]
        value = {(0,) * len(grid.axes): np.ones(len(mine))}
        weights, shift = _scattered(fits.functionals(grid.boundary[mine], value), mine, carriers, boundary.shape, data.data[free])
        boundary = boundary - weights
        values = _filled(values, mine, shift)
    return sparse.csr_matrix(operator), sources, boundary, values


def _scattered(weights: Weights, rows: Array, carriers: Array, shape: tuple[int, int], data: Array) -> tuple[sparse.csr_matrix, Array]:
    """The weights of unknowns as rows of a matrix, and the sum over the data (n_rows, n_shots)."""
    columns = carriers[weights.nodes].ravel()
    matrix = sparse.csr_matrix((weights.values.ravel(), (np.repeat(rows, weights.nodes.shape[1]), columns)), shape=shape)
    return matrix, np.einsum("qk,qks->qs", weights.of_data, data[weights.conditions])


def _beside_corners(points: Array, boundary: PointConditions) -> Array:
    """Whether the boundary next to each point turns outwards, sharper than a resolved curve: normals differ and one side looks upon the other."""
    count = min(_CORNER_CONDITIONS, len(boundary.points))
    if count < 2:
        return np.zeros(len(points), dtype=bool)
    distances, near = nearest(KDTree(boundary.points), points, count)
    normals, offsets = boundary.normals[near], boundary.points[near] - boundary.points[near[:, :1]]
    turned = np.einsum("qki,qi->qk", normals, normals[:, 0]) < _CORNER_COSINE
    ahead = np.einsum("qki,qi->qk", offsets, normals[:, 0]) > _CORNER_BEND * distances[:, -1:]
    return np.asarray(np.any(turned & ahead, axis=1))


def fitted_nodes(form: LinearForm, grid: CutGrid, given: Array) -> Array:
    """Nodes whose row is fitted: an arm ends where no value is given, or a corner of the stencil of a mixed derivative is missing."""
    n_nodes = len(grid.nodes)
    open_ends = np.concatenate([np.zeros(n_nodes, dtype=bool), ~given])
    chosen = np.any(open_ends[grid.ends], axis=(0, 1))
    for first, second in _mixed_axes(form):
        chosen |= np.any(grid.corners(first, second) < 0, axis=0)
    return np.flatnonzero(chosen)


def _mixed_axes(form: LinearForm) -> set[tuple[int, int]]:
    pairs = {tuple(axis for axis, count in enumerate(index) if count) for index in form.derivatives if max(index) == 1 and sum(index) == 2}
    pairs |= {tuple(sorted((t.along, t.towards))) for t in form.fluxes if t.towards is not None and t.towards != t.along}
    return {(first, second) for first, second in pairs}


def pointwise_coefficients(form: LinearForm) -> dict[MultiIndex, Any]:
    """Coefficient of every derivative, fluxes expanded: d(A du/dy)/dx = A u_xy + A_x u_y."""
    dimension = len(form.coordinates)
    total: dict[MultiIndex, Any] = dict(form.derivatives)

    def add(axes: Sequence[int], coefficient: Any) -> None:
        index = tuple(sum(axis == other for other in axes) for axis in range(dimension))
        total[index] = total.get(index, sp.Integer(0)) + coefficient

    for term in form.fluxes:
        inside = () if term.towards is None else (term.towards,)
        add((*inside, term.along), term.outer * term.inner)
        add(inside, term.outer * sp.diff(term.inner, form.coordinates[term.along]))
    return total


def operator_rows(form: LinearForm, grid: CutGrid) -> sparse.csr_matrix:
    """The differential operator at the nodes by differences along the arms, shape (n_nodes, n_unknowns)."""
    rows = _Rows(grid)
    for index, coefficient in form.derivatives.items():
        factor = expression_at(coefficient, form, grid.nodes)
        axes = [axis for axis, count in enumerate(index) for _ in range(count)]
        if not axes:
            rows.add_value(factor)
        elif len(axes) == 1:
            rows.add_slope(axes[0], factor)
        elif axes[0] == axes[1]:
            rows.add_flux(axes[0], factor, np.ones_like(factor), np.ones_like(factor))
        else:
            rows.add_mixed(axes[0], axes[1], factor)
    for term in form.fluxes:
        outer = expression_at(term.outer, form, grid.nodes)
        if term.towards is None:
            rows.add_slope(term.along, outer, expression_at(term.inner, form, grid.points))
        elif term.towards == term.along:
            behind, before = (expression_at(term.inner, form, grid.arm_middles(term.along, side)) for side in (-1, 1))
            rows.add_flux(term.along, outer, behind, before)
        else:
            rows.add_mixed(term.along, term.towards, outer * expression_at(term.inner, form, grid.nodes))
            rows.add_slope(term.towards, outer * expression_at(sp.diff(term.inner, form.coordinates[term.along]), form, grid.nodes))
    return rows.matrix()


class _Rows:
    """Collects the entries of the rows of the nodes."""

    def __init__(self, grid: CutGrid) -> None:
        self._grid = grid
        self._own = np.arange(len(grid.nodes))
        self._entries: list[tuple[Array, Array]] = []

    def add_value(self, factor: Array) -> None:
        """factor * u."""
        self._entries.append((self._own, factor))

    def add_slope(self, axis: int, factor: Array, inner: Array | None = None) -> None:
        """factor * d/dx (inner u), inner at all unknowns."""
        (a, b), (behind, before) = self._grid.lengths[axis], self._grid.ends[axis]
        for numbers, weights in ((behind, -b / (a * (a + b))), (self._own, (b - a) / (a * b)), (before, a / (b * (a + b)))):
            self._entries.append((numbers, factor * weights * (1 if inner is None else inner[numbers])))

    def add_flux(self, axis: int, factor: Array, inner_behind: Array, inner_before: Array) -> None:
        """factor * d/dx (inner du/dx), inner at the middles of the arms."""
        (a, b), (behind, before) = self._grid.lengths[axis], self._grid.ends[axis]
        left, right = 2 * factor * inner_behind / (a * (a + b)), 2 * factor * inner_before / (b * (a + b))
        self._entries += [(behind, left), (before, right), (self._own, -left - right)]

    def add_mixed(self, first: int, second: int, factor: Array) -> None:
        """factor * d2u/dxdy from the four corners; nodes without all of them are fitted anyway."""
        corners = self._grid.corners(first, second)
        whole = np.all(corners >= 0, axis=0)
        area = 4 * self._grid.steps[first] * self._grid.steps[second]
        for numbers, sign in zip(corners, (1, -1, -1, 1), strict=True):
            self._entries.append((np.where(whole, numbers, self._own), np.where(whole, sign * factor / area, 0)))

    def matrix(self) -> sparse.csr_matrix:
        """All entries added."""
        columns = np.concatenate([numbers for numbers, _ in self._entries])
        values = np.concatenate([weights for _, weights in self._entries])
        rows = np.tile(self._own, len(self._entries))
        return sparse.csr_matrix((values, (rows, columns)), shape=(len(self._own), self._grid.size))


def boundary_data(form: LinearForm, rows: Sequence[PartRow], domain: AbstractDomain, grid: CutGrid) -> BoundaryData:
    """Evaluate the conditions at the boundary points."""
    owner = owners(rows, domain, grid.boundary)
    count = len(grid.boundary)
    a, b, normals = np.zeros(count), np.zeros(count), np.zeros(grid.boundary.shape)
    data = np.zeros((count, len(form.source)))
    for number, row in enumerate(rows):
        mine = owner == number
        at = grid.boundary[mine]
        normals[mine] = domain.outward_normals(row.part, at)
        a, b = (_filled(array, mine, _on_boundary(e, form, at, normals[mine])) for array, e in ((a, row.a), (b, row.b)))
        values = [_on_boundary(select_shot(row.value, shot), form, at, normals[mine]) for shot in range(len(form.source))]
        data = _filled(data, mine, np.stack(values, axis=-1))
    given = np.array([row.is_dirichlet for row in rows])[owner]
    return BoundaryData(given, PointConditions(grid.boundary, a, b, normals), data)


def _filled(array: Array, where: Array, values: Array) -> Array:
    """The array with some entries replaced, complex if they are."""
    array = array.astype(np.result_type(array, values))
    array[where] = values
    return array


def owners(rows: Sequence[PartRow], domain: AbstractDomain, points: Array) -> Array:
    """Which row each boundary point belongs to; where parts meet, one that fixes the value."""
    distances = np.stack([domain.boundary_distance(row.part, points) for row in rows], axis=1)
    nearest = distances.min(axis=1, keepdims=True)
    # Crossings are known to rounding; 1e-8 of the size tells neighbouring parts apart everywhere else.
    rank = np.where(distances <= nearest + 1e-8 * domain.size, [0 if row.is_dirichlet else 1 for row in rows], 2)
    return np.asarray(np.argmin(rank, axis=1))


def expression_at(expression: Any, form: LinearForm, points: Array) -> Array:
    """An expression at points (n, n_coordinates)."""
    return np.asarray(_compiled(sp.sympify(expression), form.coordinates)(*points.T))


@lru_cache(maxsize=256)
def _compiled(expression: Any, coordinates: tuple[Any, ...]) -> Evaluator:
    """The same on every grid of a ladder; compiling takes longer than evaluating."""
    return evaluator(expression, coordinates)


def _on_boundary(expression: Any, form: LinearForm, points: Array, normals: Array) -> Array:
    """Values of data that may hold the outward normal, as manufactured slopes on curved boundaries do."""
    components = {NormalComponent(symbol): sp.Symbol(f"normal_{index}") for index, symbol in enumerate(form.coordinates)}
    plain = expand_operators(sp.sympify(expression)).xreplace(components)
    return np.asarray(_compiled(plain, (*form.coordinates, *components.values()))(*points.T, *normals.T))
