"""Reference solver for several linear second-order equations on a box that share their fields: one block matrix, orders 2, 4 and 6.

    sum_g L_fg u_g = s_f,     one elliptic L_ff per field, any linear L_fg of second order at most

such as the steady state of reactions between diffusing species. Every field has its own Dirichlet, Neumann or Robin condition on every face; periodic
axes are common to all. The unknowns of one node stand together, so that nested dissection keeps the fill of the blocks low.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Box, Problem, expand_operators
from pinnsiren.language.symbols import declaration_of

from .assembly import Grid, boundary_rows, boundary_scale, node_values, operator_matrix
from .box_reading import check_coordinates, jumps_between_joined_faces, sampled_coefficients
from .coefficients import LinearForm, equation_form
from .declaration import BoxConditions, box_conditions, face_names
from .evaluation import check_finite, evaluator, may_jump
from .factorisation import Factorisation
from .layer import Axis
from .linear_box import CLOSURE_CELLS, FIRST_CELLS, MOST_UNKNOWNS, REFINEMENT
from .observed_order import estimate_by_observed_order, relative_difference
from .protocol import AbstractReferenceSolver, FieldOnGrid, GridSolution, Support
from .resolution import with_unseen

Array = NDArray[Any]

# Orders of the equations are tried one after the other: 24 pairings.
MOST_FIELDS = 4
_ROUNDING = 1e-12
# Row sums of difference operators vanish to rounding, 1e-16; a reaction that matters is above 1e-8 of 1/h^2.
_CONSTANTS_VANISH = 1e-11


@dataclass(frozen=True)
class _System:
    """All that the declaration says.

    Attributes:
        problem: the declaration.
        blocks: blocks[f][g], the part of the equation that belongs to field f that acts on field g.
        conditions: per field.
        jumps: whether a coefficient or source jumps.
        flux_jumps: whether a coefficient inside a flux does.
    """

    problem: Problem
    blocks: tuple[tuple[LinearForm, ...], ...]
    conditions: tuple[BoxConditions, ...]
    jumps: bool
    flux_jumps: bool

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the fields."""
        return tuple(declaration_of(field).name for field in self.problem.fields)

    @property
    def coordinates(self) -> tuple[Any, ...]:
        """Of the fields."""
        return self.blocks[0][0].coordinates

    @property
    def is_complex(self) -> bool:
        """Whether any field is."""
        return any(declaration_of(field).is_complex for field in self.problem.fields)

    def grid(self, step: float, order: int, level: int, fewest: int) -> Grid:
        """Tensor grid with cells of about one step, and at least `fewest` per axis on level 0."""
        axes = []
        for axis, (low, high) in enumerate(self.conditions[0].bounds):
            cells = max(int(np.ceil((high - low) / step - 1e-9)), round(fewest * REFINEMENT**level))
            axes.append(Axis(low, high, cells, joined=axis in self.conditions[0].joined))
        return Grid(tuple(axes), order)


class LinearSystemSolver(AbstractReferenceSolver):
    """Finite differences of order 2, 4 or 6 for two to four coupled fields.

    Args:
        order: 2, 4 or 6; None chooses 2 where a coefficient inside a flux jumps, else 6.
        tolerance: relative L2 error estimate of the worst field at which the refinement stops.
        most_unknowns: size of the finest system; None for what a factorisation of dense blocks does in about half a minute.
        cells: cells per axis of the finest grid (longest side), instead of the ladder; for convergence studies.
    """

    name = "linear_system_box"

    def __init__(self, *, order: int | None = None, tolerance: float = 1e-4, most_unknowns: int | None = None, cells: int | None = None) -> None:
        if order not in (None, 2, 4, 6):
            raise ReferenceSolverError(f"the system solver was given order={order}; its orders are 2, 4 and 6")
        self._order, self._tolerance, self._most_unknowns, self._cells = order, tolerance, most_unknowns, cells
        self.order = order or 6

    def supports(self, problem: Problem) -> Support:
        """Whether the problem is a linear elliptic system on a box."""
        try:
            system = _read(problem)
        except ReferenceSolverError as error:
            return Support(False, str(error))
        return Support(True, f"{len(system.names)} linear equations on a box, {len(system.coordinates)}-D")

    def solve(self, problem: Problem) -> GridSolution:
        """Solve on a ladder of grids until the error estimate meets the tolerance or the system its largest size.

        Raises:
            ReferenceSolverError: not supported, or the discrete system is singular.
        """
        start = time.perf_counter()
        system = _read(problem)
        order = self._order or (2 if system.flux_jumps else 6)
        fields: list[FieldOnGrid] = []
        differences: list[float] = []
        estimate = np.inf
        for level, grid in enumerate(self._ladder(system, order)):
            coarser, fields = fields, _solve_on(system, grid)
            if level:
                pairs = [relative_difference(coarse, fine, kinks=system.jumps) for coarse, fine in zip(coarser, fields, strict=True)]
                differences.append(max(difference for difference, _ in pairs))
                estimate = max(_ROUNDING, estimate_by_observed_order(differences, pairs[0][1], order, system.jumps))
                estimate = with_unseen(estimate, problem, dict(zip(system.coordinates, fields[0].axes, strict=True)))
            if self._cells is None and level > 1 and estimate <= self._tolerance:
                break
        steps = [f"{symbol}: {len(axis) - 1}" for symbol, axis in zip(system.coordinates, fields[0].axes, strict=True)]
        return GridSolution(
            problem=problem.name,
            coordinates=system.coordinates,
            axes=dict(zip(system.coordinates, fields[0].axes, strict=True)),
            values={field.name: field.values for field in fields},
            error_estimate=estimate,
            seconds=time.perf_counter() - start,
            n_unknowns=grid.size * len(fields),
            solver=self.name,
            order=order,
            notes=(f"cells inside the box: {', '.join(steps)}", "the error estimate is that of the worst field"),
            fields={field.name: field for field in fields},
        )

    def _ladder(self, system: _System, order: int) -> list[Grid]:
        longest = max(high - low for low, high in system.conditions[0].bounds)
        fewest = CLOSURE_CELLS[order]
        if self._cells is not None:
            levels = 3 if self._cells >= fewest * REFINEMENT**2 else 2
            steps = [REFINEMENT ** (levels - 1 - level) * longest / self._cells for level in range(levels)]
            return [system.grid(step, order, level, fewest) for level, step in enumerate(steps)]
        count = len(system.names)
        # Blocks of m x m entries cost m^2 the memory of one equation.
        limit = self._most_unknowns or MOST_UNKNOWNS[len(system.coordinates)] // count
        first = REFINEMENT * longest / FIRST_CELLS[order]
        grids = [system.grid(first / REFINEMENT**level, order, level, fewest) for level in range(2)]
        while (finer := system.grid(first / REFINEMENT ** len(grids), order, len(grids), fewest)).size * count <= limit:
            grids.append(finer)
        return grids


def _read(problem: Problem) -> _System:
    fields, name = problem.fields, problem.name
    if not isinstance(problem.domain, Box):
        raise ReferenceSolverError(f"the domain {problem.domain} is no box or interval")
    if not 2 <= len(fields) <= MOST_FIELDS or len(problem.equations) != len(fields):
        raise ReferenceSolverError(
            f"it solves as many equations as fields, 2 to {MOST_FIELDS}; `{name}` has {len(problem.equations)} for {len(fields)}"
        )
    if problem.n_shots is not None:
        raise ReferenceSolverError(f"`{name}` has shots; the system solver takes one source")
    conditions = tuple(_conditions_of(problem, field) for field in fields)
    if len({c.joined for c in conditions}) > 1:
        raise ReferenceSolverError(f"the fields of `{name}` are periodic along different axes; one grid serves all")
    rows = [tuple(_part(equation, field, problem) for field in fields) for equation in problem.equations]
    for row in rows:
        check_coordinates(row[0], problem.domain)
    blocks = _paired(rows, conditions, name)
    forms = [form for row in blocks for form in row]
    for expression in (e for form in forms for e in form.source):
        evaluator(expression, forms[0].coordinates)
    fluxes = [term.inner for form in forms for term in form.fluxes]
    data = [e for form in forms for e in (*form.expressions(), *form.source)]
    flux_jumps = any(may_jump(e) for e in fluxes) or jumps_between_joined_faces(fluxes, forms[0].coordinates, conditions[0])
    jumps = flux_jumps or any(may_jump(e) for e in data) or jumps_between_joined_faces(data, forms[0].coordinates, conditions[0])
    return _System(problem, blocks, conditions, jumps, flux_jumps)


def _conditions_of(problem: Problem, field: Any) -> BoxConditions:
    own = [c for c in problem.conditions if any(sp.sympify(e).has(field) for e in c.expressions())]
    found = box_conditions(problem.rewritten(equations=problem.equations, conditions=own), problem.domain, tuple(field.args))  # type: ignore[arg-type]
    if found.layers:
        raise ReferenceSolverError(f"`{problem.name}` has an absorbing layer; for several coupled fields the grid builds none")
    if found.free:
        raise ReferenceSolverError(f"the faces {face_names(found.free, tuple(field.args))} of `{problem.name}` carry no condition of `{field.func}`")
    return found


def _part(equation: Any, field: Any, problem: Problem) -> LinearForm:
    """The part of an equation in one field, with the whole source.

    Raises:
        ReferenceSolverError: the equation is not the sum of its parts.
    """
    others = {other: sp.Integer(0) for other in problem.fields if other != field}
    alone = sp.sympify(equation).xreplace(others)
    whole = expand_operators(sp.sympify(equation)).doit()
    nothing = whole.xreplace(dict.fromkeys(problem.fields, sp.Integer(0))).doit()
    rest = whole - expand_operators(alone).doit() - whole.xreplace({field: sp.Integer(0)}).doit() + nothing
    if sp.expand(rest) != 0 and sp.simplify(rest) != 0:
        raise ReferenceSolverError(f"an equation of `{problem.name}` is not linear: it multiplies `{field.func}` with another field")
    return equation_form(alone, field, problem.name)


def _paired(rows: list[tuple[LinearForm, ...]], conditions: tuple[BoxConditions, ...], name: str) -> tuple[tuple[LinearForm, ...], ...]:
    """Order the equations so that each is elliptic in the field of its place, whose conditions replace its boundary rows."""
    reason = ""
    for order in permutations(range(len(rows))):
        try:
            for place, number in enumerate(order):
                sampled_coefficients(rows[number][place], conditions[place], name)
        except ReferenceSolverError as error:
            reason = reason or str(error)
            continue
        return tuple(rows[number] for number in order)
    raise ReferenceSolverError(f"no pairing of the equations of `{name}` with its fields makes each elliptic in its own: {reason}")


def _solve_on(system: _System, grid: Grid) -> list[FieldOnGrid]:
    count = len(system.names)
    matrices: list[list[Any]] = []
    columns = []
    for place, (row, conditions) in enumerate(zip(system.blocks, system.conditions, strict=True)):
        owner, walls = boundary_rows(conditions.rows, system.coordinates, grid)
        inside = sparse.diags((owner.ravel() == -2).astype(float))
        matrices.append([inside @ operator_matrix(form, grid) + (walls if other == place else 0 * walls) for other, form in enumerate(row)])
        columns.append(_right_hand_side(system, row[place].source[0], conditions, owner, grid))
    matrix: Any = sparse.csr_matrix(sparse.bmat(matrices))
    right = np.concatenate(columns)
    if (np.iscomplexobj(matrix) or np.iscomplexobj(right)) and not system.is_complex:
        raise ReferenceSolverError(f"`{system.problem.name}` has complex coefficients or data and real fields; declare them with complex=True")
    _check_constants_are_fixed(matrix, count, system.problem.name)
    if np.iscomplexobj(right):
        matrix = matrix.astype(complex)
    # Node by node instead of field by field.
    order = np.arange(count * grid.size).reshape(count, grid.size).T.ravel()
    separator = grid.order - 1 if any(form.fluxes for row in system.blocks for form in row) else grid.order // 2
    solved = np.empty(len(order), dtype=matrix.dtype)
    if np.any(right):
        factors = Factorisation(matrix[order][:, order], (*grid.shape, count), separator, system.conditions[0].joined)
        solved[order] = factors.solve(right[order][:, None])[:, 0]
    else:
        solved[:] = 0
    fields = []
    for place, name in enumerate(system.names):
        values = grid.unfold(solved[place * grid.size : (place + 1) * grid.size].reshape(grid.shape)[grid.inside])
        if not declaration_of(system.problem.fields[place]).is_complex:
            values = values.real
        fields.append(FieldOnGrid(name, grid.inside_axes, values, (None,), None, system.coordinates))
    return fields


def _check_constants_are_fixed(matrix: Any, count: int, name: str) -> None:
    """No combination of constants, one per field, solves the homogeneous problem."""
    constants = np.kron(np.eye(count), np.ones((matrix.shape[0] // count, 1)))
    image, size = matrix @ constants, np.linalg.norm(abs(matrix) @ constants)
    if np.linalg.svd(image, compute_uv=False)[-1] < _CONSTANTS_VANISH * size:
        raise ReferenceSolverError(
            f"`{name}` is singular: constants may be added to its fields without changing an equation or a condition. Fix one field on a face, or "
            "add a reaction term"
        )


def _right_hand_side(system: _System, source: Any, conditions: BoxConditions, owner: Array, grid: Grid) -> Array:
    column = np.array(node_values(source, system.coordinates, grid))
    column[owner != -2] = 0
    check_finite(column, source, np.meshgrid(*grid.data_axes(), indexing="ij"), system.coordinates)
    for number, face in enumerate(conditions.rows):
        owned = owner == number
        value = node_values(face.value, system.coordinates, grid)[owned]
        column = column.astype(np.result_type(column, value))
        column[owned] = value * boundary_scale(face, grid)
    return column.ravel()
