"""A steady nonlinear problem on a box: what the declaration says, and its residual and Jacobian on one grid.

Input: a `Problem`, a grid. Output: `SteadyReading`, `SteadySystem`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Box, Constraint, Problem, select_shot
from pinnsiren.language.symbols import declaration_of

from ..assembly import FaceRow
from ..evaluation import may_jump
from ..factorisation import Factorisation
from ..protocol import FieldOnGrid
from .field_faces import FieldFaces, field_faces, periodic_axes
from .jet_evaluation import GridExpressions, real_part
from .jets import JetSymbols, LoweredEquations, lower_equations
from .newton import NewtonResult, continued_newton, damped_newton
from .tensor_operators import TensorGrid

Array = NDArray[Any]

# Solutions further apart than this (relative) are different; the error of the coarsest grid is smaller where Newton's method converges.
_DIFFERENT = 1e-3
_SEED = 11
# Starts that are tried before there is any solution; the others look for a second one.
_FIRST_STARTS = 5


@dataclass(frozen=True)
class SteadyReading:
    """The declaration in jets: one lowered system and one list of face conditions per shot."""

    problem: Problem
    symbols: JetSymbols
    equations: tuple[LoweredEquations, ...]
    # Index of the equation that stands on the nodes of each field.
    owner: tuple[int, ...]
    faces: tuple[FieldFaces, ...]
    jumps: bool

    @property
    def n_components(self) -> int:
        """Real unknowns per node."""
        return len(self.symbols.components)

    @property
    def is_linear(self) -> bool:
        """Whether equations and walls are linear in the fields."""
        data = [sp.sympify(e) for faces in self.faces for row in faces.rows for e in (row.a, row.b, row.value)]
        return self.equations[0].is_linear and not any(e.has(*self.problem.fields) for e in data)


def read_steady(problem: Problem) -> SteadyReading:
    """Read a declaration as a steady problem of one or several fields on a box.

    Raises:
        ReferenceSolverError: what Newton's method on a grid does not take, with the reason.
    """
    if not isinstance(problem.domain, Box):
        raise ReferenceSolverError(f"the domain {problem.domain} is no box or interval")
    space = tuple(problem.domain.coordinates)
    if len(space) > 3:
        raise ReferenceSolverError(f"`{problem.name}` has {len(space)} coordinates; three are the most a grid can hold")
    if any(isinstance(condition, Constraint) for condition in problem.conditions):
        raise ReferenceSolverError(f"`{problem.name}` has a condition `Constraint`, which a grid on a box does not support")
    symbols = JetSymbols(problem, space)
    shots = declaration_of(problem.fields[0]).shots or 1
    equations = tuple(lower_equations(symbols, shot) for shot in range(shots))
    faces = tuple(field_faces(problem, problem.domain, number) for number in range(len(problem.fields)))
    periodic_axes(problem, faces)
    owner = _owners(equations[0], len(problem.fields))
    for number, field in enumerate(problem.fields):
        _check_order(problem, equations[0], number, owner[number], faces[number], field)
    parts = [e for lowered in equations for e in (*lowered.residuals, *(flux.component for flux in lowered.fluxes))]
    return SteadyReading(problem, symbols, equations, owner, faces, any(may_jump(e) for e in parts))


def _owners(equations: LoweredEquations, count: int) -> tuple[int, ...]:
    """The equation that belongs to each field: the one of its highest derivatives; in the order of the declaration where that leaves a choice."""
    score = np.array([[10 * sum(equations.orders(field, equation)) + (field == equation) for equation in range(count)] for field in range(count)])
    _, chosen = linear_sum_assignment(score, maximize=True)
    return tuple(int(c) for c in chosen)


def _check_order(problem: Problem, equations: LoweredEquations, number: int, equation: int, faces: FieldFaces, field: Any) -> None:
    """Second order along every axis with a condition at both ends, or first order on a line with one condition."""
    orders = equations.orders(number, equation)
    space = problem.domain.coordinates
    for axis, (symbol, order) in enumerate(zip(space, orders, strict=True)):
        given = [row.side for row in faces.rows if row.axis == axis]
        if axis in faces.periodic:
            continue
        if order > 2:
            raise ReferenceSolverError(f"`{problem.name}` holds a derivative of order {order} along `{symbol}`; two is the highest between walls")
        if order == 2 and len(given) < 2:
            side = "+" if -1 in given else "-"
            raise ReferenceSolverError(f"the face {symbol}{side} of `{problem.name}` carries no condition on `{field.func}`")
        if order < 2 and (len(space) > 1 or order == 0 or len(given) != 1):
            raise ReferenceSolverError(
                f"`{field.func}` of `{problem.name}` has no second derivative along `{symbol}` in its equation; this solver takes elliptic "
                "equations, and on a line first-order ones with one condition"
            )


class SteadySystem:
    """Residual and Jacobian of all unknowns of one grid; unknowns of one node stand side by side."""

    def __init__(self, reading: SteadyReading, grid: TensorGrid, compiled: Any = None) -> None:
        self.reading, self.grid = reading, grid
        self._count = reading.n_components
        self.compiled: list[tuple[Any, Any]] = compiled or []
        self._shots = [self._bind(shot, compiled[shot] if compiled else (None, None)) for shot in range(len(reading.equations))]
        if not self.compiled:
            self.compiled = [(inside.compiled, walls.compiled) for inside, walls in self._shots]
        self._on_wall = self._wall_owner()
        fluxes = any(lowered.fluxes for lowered in reading.equations)
        self._separator = grid.lines[0].order - 1 if fluxes else grid.lines[0].order // 2
        step = min(line.h for line in grid.lines)
        # Rows of walls scaled to the size of the others, for the pivoting.
        self._wall_scale = [1 / step if row.is_neumann else 1 / step**2 for faces in reading.faces for row in faces.rows]

    def solve(self, shot: int, coarser: Sequence[FieldOnGrid]) -> NewtonResult:
        """Newton's method from the coarser solution, else from a few starts; the first that converges."""
        if coarser:
            warm = damped_newton(self._residual(shot), self._factorise(shot), self._interpolated(coarser, shot))
            if warm.converged:
                return warm
        best: NewtonResult | None = None
        for start in self.starts()[:_FIRST_STARTS]:
            result = continued_newton(self._residual(shot), self._factorise(shot), start)
            if result.converged:
                return result
            best = result if best is None or result.reached > best.reached else best
        assert best is not None
        return best

    def starts(self) -> list[Array]:
        """Zero, constants, paraboloids, and smooth functions of several sizes; the same in every run.

        The linearised equations may be singular about constants, as those of the Monge-Ampere equation are, whose solutions are convex.
        """
        rng = np.random.default_rng(_SEED)
        zero = np.zeros(self.grid.size * self._count)
        unit = [(p - line.low) / (line.high - line.low) for p, line in zip(self.grid.points(), self.grid.lines, strict=True)]
        bowl = np.repeat(np.sum([s**2 for s in unit], axis=0) / 2, self._count)
        found = [zero, zero + 1.0, zero - 1.0, bowl, -bowl]
        for size in (1.0, 3.0, 8.0):
            parts = []
            for _ in range(self._count):
                bump = np.prod([np.sin(np.pi * s) for s in unit], axis=0)
                wave = np.sum([np.cos(np.pi * (rng.integers(1, 4) * s + rng.uniform(0, 2))) for s in unit], axis=0)
                parts.append(size * (bump + 0.3 * wave))
            found.append(np.stack(parts, axis=1).ravel())
        return found

    def other_solution(self, shot: int, known: Array) -> float:
        """Largest relative distance of a further solution from the known one, 0 when no start leads to another."""
        scale = max(float(np.linalg.norm(known)), 1e-12 * np.sqrt(known.size))
        size = float(np.max(np.abs(known)))
        farthest = 0.0
        # Relative to the known solution, and to 1: nonlinear terms have a scale of their own.
        for factor in {size if size > 0 else 1.0, 1.0}:
            for start in self.starts()[1:]:
                result = damped_newton(self._residual(shot), self._factorise(shot), factor * start, most_steps=15)
                if result.converged:
                    farthest = max(farthest, float(np.linalg.norm(result.values - known)) / scale)
        return farthest if farthest > _DIFFERENT else 0.0

    def fields(self, solutions: Sequence[Array]) -> list[FieldOnGrid]:
        """The fields on the declared box."""
        result = []
        for number, field in enumerate(self.reading.problem.fields):
            stack: list[Array] = []
            positions: list[Array] = []
            for values in solutions:
                parts = values.reshape((*self.grid.shape, self._count))
                chosen = [(c.factor, parts[..., i]) for i, c in enumerate(self.reading.symbols.components) if c.field == number]
                whole = sum((1j if factor == sp.I else 1.0) * part for factor, part in chosen)
                wrapped, positions = self.grid.wrapped(np.asarray(whole))
                stack.append(wrapped)
            declaration = declaration_of(field)
            smooth = np.stack(stack) if declaration.shots is not None else stack[0]
            nothing: tuple[None, ...] = (None,) * len(stack)
            result.append(FieldOnGrid(declaration.name, tuple(positions), smooth, nothing, declaration.shots, self.reading.symbols.space))
        return result

    def _bind(self, shot: int, compiled: tuple[Any, Any]) -> tuple[GridExpressions, GridExpressions]:
        lowered, symbols = self.reading.equations[shot], self.reading.symbols
        rows = [_wall_expression(symbols, number, row, shot) for number, faces in enumerate(self.reading.faces) for row in faces.rows]
        inside = GridExpressions(lowered.residuals, lowered.fluxes, symbols, self.grid, compiled[0])
        return inside, GridExpressions(rows, (), symbols, self.grid, compiled[1])

    def _wall_owner(self) -> list[Array]:
        """Per field, the number of the face condition that stands on each node, -1 inside; a condition that fixes u wins at corners."""
        owners, first = [], 0
        for faces in self.reading.faces:
            owner = np.full(self.grid.size, -1)
            for number in sorted(range(len(faces.rows)), key=lambda i: not faces.rows[i].is_neumann):
                owner[self.grid.face(faces.rows[number].axis, faces.rows[number].side)] = first + number
            owners.append(owner)
            first += len(faces.rows)
        return owners

    def _components(self, values: Array) -> list[Array]:
        return list(values.reshape(self.grid.size, self._count).T)

    def _residual(self, shot: int) -> Callable[[Array], Array]:
        inside, walls = self._shots[shot]

        def residual(values: Array) -> Array:
            components = self._components(values)
            equations, rows = inside.values(components), walls.values(components)
            parts = []
            for component in self.reading.symbols.components:
                column = np.array(equations[self.reading.owner[component.field]])
                for number, row in enumerate(rows):
                    owned = self._on_wall[component.field] == number
                    if owned.any():
                        column = column.astype(np.result_type(column, row))
                        column[owned] = self._wall_scale[number] * row[owned]
                parts.append(real_part(column, component.factor, self.reading.symbols))
            return np.stack(parts, axis=1).ravel()

        return residual

    def _factorise(self, shot: int) -> Callable[[Array], Callable[[Array], Array]]:
        def factorise(values: Array) -> Callable[[Array], Array]:
            joined = self.reading.faces[0].periodic
            return Factorisation(self._jacobian(shot, values), (*self.grid.shape, self._count), self._separator, joined).solve

        return factorise

    def _jacobian(self, shot: int, values: Array) -> sparse.csr_matrix:
        inside, walls = self._shots[shot]
        components = self._components(values)
        equations, rows = inside.jacobians(components), walls.jacobians(components)
        blocks: list[list[Any]] = []
        for component in self.reading.symbols.components:
            owner = self._on_wall[component.field]
            selected = [(equations[self.reading.owner[component.field]], (owner == -1).astype(float))]
            selected += [(row, self._wall_scale[n] * (owner == n)) for n, row in enumerate(rows) if np.any(owner == n)]
            line: list[Any] = []
            for other in range(self._count):
                total = sparse.csr_matrix((self.grid.size, self.grid.size))
                for table, weight in selected:
                    if other in table:
                        total = total + sparse.diags(weight) @ real_part(table[other], component.factor, self.reading.symbols)
                line.append(total)
            blocks.append(line)
        stacked: Any = sparse.bmat(blocks, format="csr")
        if self._count == 1:
            return sparse.csr_matrix(stacked)
        # From component after component to node after node.
        order = np.arange(self.grid.size * self._count).reshape(self._count, self.grid.size).T.ravel()
        return sparse.csr_matrix(stacked[order][:, order])

    def _interpolated(self, coarser: Sequence[FieldOnGrid], shot: int) -> Array:
        points = self.grid.points()
        columns = []
        for component in self.reading.symbols.components:
            field = coarser[component.field]
            values = field(*points)
            values = values[shot] if field.shots is not None else values
            columns.append(np.imag(values) if component.factor == sp.I else np.real(values))
        return np.stack(columns, axis=1).ravel()


def _wall_expression(symbols: JetSymbols, number: int, row: FaceRow, shot: int) -> Any:
    field = symbols.problem.fields[number]
    slope = row.side * field.diff(symbols.space[row.axis])
    return symbols.lower(row.a * field + row.b * slope - select_shot(sp.sympify(row.value), shot))
