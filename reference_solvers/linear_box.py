"""Reference solver for one linear second-order equation on a box: finite differences of order 2, 4 or 6 and a direct solve.

Elliptic equations, indefinite (Helmholtz) included; real or complex, variable or jumping coefficients; fluxes kept as fluxes; first-order terms;
Dirichlet, Neumann, Robin faces; absorbing layers; several shots with one factorisation; 1-D, 2-D, small 3-D.

A declared `PML` is read as the radiation condition: the box lies in free space. The solver builds its own layer (see `layer`); declared width
and strength belong to the network's way of imposing the same condition.

The error estimate comes from the two finest grids, steps h and 1.4 h with layers of different thickness: their difference divided by r^p - 1 with
p = 2 for smooth coefficients and p = 1 where one jumps. Both are below the order that is observed, so that the estimate errs on the safe side.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Box, Problem, select_shot
from pinnsiren.language.symbols import declaration_of

from .assembly import Grid, boundary_rows, boundary_scale, node_values, operator_matrix
from .coefficients import LinearForm, linear_form
from .declaration import BoxConditions, box_conditions, face_names
from .evaluation import evaluator, may_jump
from .factorisation import Factorisation
from .incident import Background, narrowest_source, split_narrow_sources
from .layer import LAYER_POWER, Axis
from .protocol import AbstractReferenceSolver, FieldOnGrid, GridSolution, Support

Array = NDArray[Any]

REFINEMENT = 1.4
# Unknowns that SuperLU factorises in about 10 s on one core (2-D: 340^2 with stencils 3 wide), by dimension.
MOST_UNKNOWNS = {1: 40_000, 2: 116_000, 3: 30_000}
# On the first grid: closures of order 6 need ten points.
FEWEST_CELLS = 14
# 6th order at 10 points per wavelength: 1e-3; the ladder refines from there.
FIRST_POINTS_PER_WAVELENGTH = {2: 16.0, 4: 12.0, 6: 10.0}
FIRST_CELLS = {2: 48, 4: 40, 6: 32}
# Layers in wavelengths, alternating from grid to grid so that their reflection shows in the difference.
LAYER_WAVELENGTHS = (1.2, 1.5)
# -ln of the round-trip reflection of the continuous layer, exp(-2 k a L / (p + 1)) = 1e-7.
_LAYER_ATTENUATION = 16.1
_INCOMPATIBLE = 1e-3
# No estimate below what the closed forms and the factorisation leave in fp64.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class _Reading:
    """All that the declaration says, in this package's words."""

    problem: Problem
    form: LinearForm
    conditions: BoxConditions
    shots: int | None
    is_complex: bool
    jumps: bool
    wavenumbers: Array

    @property
    def measure(self) -> float:
        """Size of the declared box."""
        return float(np.prod([high - low for low, high in self.conditions.bounds]))

    @property
    def is_pure_neumann(self) -> bool:
        """Whether the solution is defined up to a constant only."""
        rows = self.conditions.rows
        closed = not self.conditions.layers and all(row.is_neumann for row in rows)
        return closed and self.form.reaction == 0 and not any(t.towards is None for t in self.form.fluxes)


class LinearBoxSolver(AbstractReferenceSolver):
    """Finite differences of order 2, 4 or 6 on a tensor grid.

    Args:
        order: 2, 4 or 6; None chooses 2 where a coefficient inside a flux jumps, else 6.
        tolerance: relative L2 error estimate at which the refinement stops.
        most_unknowns: size of the finest system; None for the default of the dimension, about 20 s in 2-D.
        cells: cells per axis of the finest grid (longest side), instead of the ladder; for convergence studies.
        split: whether Gaussian sources are split off in closed form; None decides by their width.
    """

    name = "linear_box"

    def __init__(
        self,
        *,
        order: int | None = None,
        tolerance: float = 1e-4,
        most_unknowns: int | None = None,
        cells: int | None = None,
        split: bool | None = None,
    ) -> None:
        if order not in (None, 2, 4, 6):
            raise ReferenceSolverError(f"the box solver was given order={order}; its orders are 2, 4 and 6")
        self._order, self._tolerance, self._most_unknowns, self._cells, self._split = order, tolerance, most_unknowns, cells, split
        self.order = order or 6

    def supports(self, problem: Problem) -> Support:
        """Whether the problem is one linear second-order equation on a box."""
        try:
            reading = _read(problem)
        except ReferenceSolverError as error:
            return Support(False, str(error))
        return Support(True, f"one linear equation on a box, {len(reading.form.coordinates)}-D")

    def solve(self, problem: Problem) -> GridSolution:
        """Solve on a ladder of grids until the error estimate meets the tolerance or the system its largest size.

        Raises:
            ReferenceSolverError: not supported; incompatible Neumann data; a resonance.
        """
        start = time.perf_counter()
        reading = _read(problem)
        order = self._order or (2 if any(may_jump(t.inner) for t in reading.form.fluxes) else 6)
        solution: FieldOnGrid | None = None
        estimate = np.inf
        notes: list[str] = []
        for level, grid in enumerate(self._ladder(reading, order)):
            coarser, (solution, notes) = solution, _solve_on(reading, grid, self._threshold(reading, order))
            size = grid.size
            if level:
                assert coarser is not None
                estimate = max(_ROUNDING, _error_estimate(coarser, solution, 1 if reading.jumps else 2))
                if self._cells is None and estimate <= self._tolerance:
                    break
        assert solution is not None
        symbols = reading.form.coordinates
        steps = [f"{symbol}: {len(axis) - 1}" for symbol, axis in zip(symbols, solution.axes, strict=True)]
        return GridSolution(
            problem=problem.name,
            coordinates=symbols,
            axes=dict(zip(symbols, solution.axes, strict=True)),
            values={solution.name: solution.values},
            error_estimate=estimate,
            seconds=time.perf_counter() - start,
            n_unknowns=size,
            solver=self.name,
            order=order,
            notes=(f"cells inside the box: {', '.join(steps)}", *notes),
            fields={solution.name: solution},
        )

    def _threshold(self, reading: _Reading, order: int) -> float:
        """Standard deviation below which a Gaussian is split off: six steps of the first grid."""
        if self._split is not None:
            return np.inf if self._split else 0.0
        return 6 * _first_step(reading, order)

    def _ladder(self, reading: _Reading, order: int) -> list[Grid]:
        longest = max(high - low for low, high in reading.conditions.bounds)
        limit = self._most_unknowns or MOST_UNKNOWNS[len(reading.conditions.bounds)]
        if self._cells is not None:
            steps = [REFINEMENT * longest / self._cells, longest / self._cells]
            return [_grid(reading, step, order, level, 11) for level, step in enumerate(steps)]
        first = _first_step(reading, order)
        kept, _ = split_narrow_sources(reading.form, self._threshold(reading, order), reading.conditions, not reading.is_complex)
        if all(background is None for background in kept):
            # Nothing is split off: the narrowest source must be resolved, three steps per standard deviation on the second grid.
            first = min(first, max(narrowest_source(reading.form.source) / 2, longest / 300))
        grids = [_grid(reading, first, order, 0)]
        while grids[0].size > limit / REFINEMENT ** len(reading.conditions.bounds) and first < longest:
            first *= 1.1
            grids = [_grid(reading, first, order, 0)]
        while (finer := _grid(reading, first / REFINEMENT ** len(grids), order, len(grids))).size <= limit:
            grids.append(finer)
        if len(grids) < 2:
            grids.append(_grid(reading, first / REFINEMENT, order, 1))
        return grids


def _read(problem: Problem) -> _Reading:
    if not isinstance(problem.domain, Box):
        raise ReferenceSolverError(f"the domain {problem.domain} is no box or interval")
    form = linear_form(problem)
    dimension = len(form.coordinates)
    if dimension > 3 or set(form.coordinates) != set(problem.domain.coordinates):
        raise ReferenceSolverError(
            f"the field depends on {form.coordinates}, the box on {problem.domain.coordinates}; expected the same, three at most"
        )
    conditions = box_conditions(problem, problem.domain, form.coordinates)
    if conditions.free:
        raise ReferenceSolverError(f"the faces {face_names(conditions.free, form.coordinates)} of `{problem.name}` carry no condition and no layer")
    declaration = declaration_of(problem.fields[0])
    jumps = any(may_jump(e) for e in [*form.expressions(), *form.source])
    wavenumbers = _sampled_wavenumbers(form, conditions, problem.name)
    reading = _Reading(problem, form, conditions, declaration.shots, bool(declaration.is_complex), jumps, wavenumbers)
    for axis, side in conditions.layers:
        if np.min(np.take(wavenumbers, 0 if side < 0 else -1, axis=axis)) <= 0:
            face = face_names(frozenset({(axis, side)}), form.coordinates)
            raise ReferenceSolverError(
                f"the layer on {face} of `{problem.name}` absorbs nothing: no wave propagates there (coefficient of u not positive)"
            )
    for expression in (*form.source, *(e for row in conditions.rows for e in (row.a, row.b, select_shot(row.value, 0)))):
        evaluator(expression, form.coordinates)
    return reading


def _sampled_wavenumbers(form: LinearForm, conditions: BoxConditions, name: str) -> Array:
    """sqrt(max(Re C/A, 0)) on a coarse sample of the box, faces included; checks that the equation is elliptic in its second derivatives."""
    count = {1: 201, 2: 41, 3: 15}[len(form.coordinates)]
    points = np.meshgrid(*[np.linspace(low, high, count) for low, high in conditions.bounds], indexing="ij")
    diffusivities = []
    for axis, symbol in enumerate(form.coordinates):
        index = tuple(2 * (i == axis) for i in range(len(form.coordinates)))
        total = evaluator(form.coefficient(*index), form.coordinates)(*points).astype(complex)
        for term in form.fluxes:
            if term.along == axis and term.towards == axis:
                total = total + evaluator(term.outer * term.inner, form.coordinates)(*points)
        if np.any(total == 0) or not np.all(np.isfinite(total)):
            raise ReferenceSolverError(
                f"the equation of `{name}` has no second derivative along `{symbol}`, or one that vanishes or is infinite somewhere"
            )
        diffusivities.append(total)
    first = diffusivities[0]
    if any(np.any((other / first).real <= 0) for other in diffusivities[1:]):
        raise ReferenceSolverError(f"the second derivatives of `{name}` have different signs: the equation is not elliptic")
    largest = np.maximum.reduce([np.abs(d) for d in diffusivities])
    ratio = evaluator(form.reaction, form.coordinates)(*points) * np.exp(-1j * np.angle(first)) / largest
    return np.asarray(np.sqrt(np.maximum(ratio.real, 0)))


def _first_step(reading: _Reading, order: int) -> float:
    longest = max(high - low for low, high in reading.conditions.bounds)
    step = longest / FIRST_CELLS[order]
    fastest = float(np.max(reading.wavenumbers))
    if fastest > 0:
        step = min(step, 2 * np.pi / fastest / FIRST_POINTS_PER_WAVELENGTH[order])
    return step


def _grid(reading: _Reading, step: float, order: int, level: int, fewest: int = FEWEST_CELLS) -> Grid:
    axes = []
    conditions = reading.conditions
    thickness = LAYER_WAVELENGTHS[level % 2]
    strength = _LAYER_ATTENUATION * (LAYER_POWER + 1) / (2 * 2 * np.pi * thickness)
    for axis, (low, high) in enumerate(conditions.bounds):
        cells = max(int(np.ceil((high - low) / step - 1e-9)), round(fewest * REFINEMENT**level))
        plain = Axis(low, high, cells)
        depth = {}
        for side in (-1, 1):
            depth[side] = 0
            if (axis, side) in conditions.layers:
                slowest = float(np.min(np.take(reading.wavenumbers, 0 if side < 0 else -1, axis=axis)))
                depth[side] = max(int(np.round(thickness * 2 * np.pi / slowest / plain.h)), 8)
        layered = strength if depth[-1] or depth[1] else 0.0
        axes.append(replace(plain, before=depth[-1], behind=depth[1], strength=layered, sign=conditions.sign))
    return Grid(tuple(axes), order)


def _solve_on(reading: _Reading, grid: Grid, threshold: float) -> tuple[FieldOnGrid, list[str]]:
    form, conditions = reading.form, reading.conditions
    backgrounds, sources = split_narrow_sources(form, threshold, conditions, not reading.is_complex)
    owner, rows = boundary_rows(conditions.rows, form.coordinates, grid)
    inside = owner.ravel() == -2
    matrix = sparse.csr_matrix(sparse.diags(inside.astype(float)) @ operator_matrix(form, grid) + rows)
    right = _right_hand_sides(reading, grid, owner, backgrounds, sources)
    if np.iscomplexobj(right):
        matrix = matrix.astype(complex)
    if np.iscomplexobj(matrix) and not reading.is_complex:
        raise ReferenceSolverError(f"`{reading.problem.name}` has complex coefficients or data and a real field; declare it with complex=True")
    separator = grid.order - 1 if form.fluxes else grid.order // 2
    if reading.is_pure_neumann:
        values = _mean_free_solution(matrix, right, grid, inside, separator, reading)
    elif not np.any(right):
        values = np.zeros_like(right, dtype=matrix.dtype)
    else:
        values = Factorisation(matrix, grid.shape, separator).solve(right)
    stack = np.moveaxis(values.reshape((*grid.shape, -1)), -1, 0)[(slice(None), *grid.inside)]
    axes = tuple(a.nodes[a.inside] for a in grid.axes)
    shots = reading.shots
    declaration = declaration_of(reading.problem.fields[0])
    field = FieldOnGrid(declaration.name, axes, stack if shots is not None else stack[0], backgrounds, shots, form.coordinates)
    return field, _notes(reading, grid, backgrounds)


def _notes(reading: _Reading, grid: Grid, backgrounds: tuple[Background | None, ...]) -> list[str]:
    notes = []
    fastest = float(np.max(reading.wavenumbers))
    if fastest > 0:
        notes.append(f"{2 * np.pi / fastest / max(a.h for a in grid.axes):.1f} points per shortest wavelength")
    if grid.has_layers:
        notes.append("own absorbing layers, 1.2 and 1.5 wavelengths thick; the declared width and strength are not used")
    split = sum(len(b.fields) for b in backgrounds if b is not None)
    if split:
        notes.append(f"{split} narrow source{'s' * (split > 1)} split off in closed form")
    if reading.jumps:
        notes.append("a coefficient jumps: averaged over cells, error estimated as first order")
    if reading.is_pure_neumann:
        notes.append("pure Neumann conditions: the mean-free solution")
    return notes


def _right_hand_sides(
    reading: _Reading, grid: Grid, owner: Array, backgrounds: tuple[Background | None, ...], sources: tuple[Any, ...]
) -> Array:
    """One column per shot, shape (n_nodes, n_shots)."""
    form = reading.form
    columns = []
    points = grid.stretched_points()
    reaction = node_values(form.reaction, form.coordinates, grid) if any(backgrounds) else np.zeros(0)
    for shot, (background, source) in enumerate(zip(backgrounds, sources, strict=True)):
        column = np.array(node_values(source, form.coordinates, grid))
        if background is not None:
            column = column + background.forcing(reaction, points)
        column[owner != -2] = 0
        for number, face in enumerate(reading.conditions.rows):
            owned = owner == number
            at = [p[owned] for p in points]
            value = node_values(select_shot(face.value, shot), form.coordinates, grid)[owned]
            if background is not None:
                a, b = (node_values(e, form.coordinates, grid)[owned] for e in (face.a, face.b))
                value = value - a * background(*at)
                if face.b != 0:
                    value = value - face.side * b * background.slope(face.axis, *at)
            if np.iscomplexobj(value):
                column = column.astype(complex)
            column[owned] = value * boundary_scale(face, grid)
        columns.append(column.ravel())
    return np.stack(columns, axis=-1)


def _mean_free_solution(matrix: Any, right: Array, grid: Grid, inside: Array, separator: int, reading: _Reading) -> Array:
    """Solve with a multiplier that takes up the mean of the data; it must be small against the data, else there is no solution."""
    column = sparse.csr_matrix(inside.astype(float)[:, None])
    weights = np.ones(grid.shape)
    for axis, a in enumerate(grid.axes):
        ends = np.ones(a.n + 1)
        ends[[0, -1]] = 0.5
        weights = weights * grid.along(axis, ends)
    weights = weights.ravel() / weights.sum()
    bordered = sparse.bmat([[matrix, column], [sparse.csr_matrix(weights[None, :]), None]], format="csr")
    solved = Factorisation(bordered, grid.shape, separator).solve(np.vstack([right, np.zeros((1, right.shape[1]))]))
    multiplier, values = solved[-1], solved[:-1]
    size = np.max(np.abs(right[inside]), initial=0.0) + np.max(np.abs(matrix @ values)[inside], initial=0.0)
    worst = complex(multiplier[np.argmax(np.abs(multiplier))])
    if abs(worst) > _INCOMPATIBLE * max(size, 1e-300):
        integral = worst * reading.measure
        shown = f"{integral.real:.4g}" if integral.imag == 0 else f"{integral:.4g}"
        raise ReferenceSolverError(
            f"`{reading.problem.name}` has pure Neumann data whose integral is {shown}: the source minus what flows through the boundary must "
            "integrate to zero, else no solution exists"
        )
    return np.asarray(values)


def _error_estimate(coarse: FieldOnGrid, fine: FieldOnGrid, order: int) -> float:
    """Relative L2 difference on the nodes of the coarse grid, divided by r^p - 1 with the true ratio of the steps."""
    points = np.meshgrid(*coarse.axes, indexing="ij")
    bare = replace(fine, background=(None,) * len(fine.background))
    difference = coarse.smooth - bare(*points)
    total = coarse.values
    weights = np.ones(points[0].shape)
    for axis, nodes in enumerate(coarse.axes):
        shape = [1] * len(coarse.axes)
        shape[axis] = -1
        weights = weights * np.gradient(nodes).reshape(shape)
    size = np.sqrt(np.sum(weights * np.abs(total) ** 2))
    # The smallest ratio among the axes.
    ratio = min((len(f) - 1) / (len(c) - 1) for f, c in zip(fine.axes, coarse.axes, strict=True))
    error = np.sqrt(np.sum(weights * np.abs(difference) ** 2)) / max(size, 1e-300)
    return float(error / (ratio**order - 1))

