"""Reference solver for one linear second-order equation on a box: finite differences of order 2, 4 or 6, solved directly or by multigrid.

Elliptic equations, indefinite (Helmholtz) included; real or complex, variable or jumping coefficients; fluxes kept as fluxes; first-order terms;
Dirichlet, Neumann, Robin and periodic faces; absorbing layers; several shots with one factorisation; 1-D, 2-D, 3-D. Definite systems too large
for a factorisation are solved iteratively (see `multigrid`), up to about a million unknowns, when PyAMG is installed.

A declared `PML` is read as the radiation condition: the box lies in free space. The solver builds its own layer (see `layer`); declared width
and strength belong to the network's way of imposing the same condition.

The error estimate comes from the finest grids, steps h, 1.4 h and, where there are three, 2 h, with layers of different thickness: the difference
of the two finest divided by r^p - 1, with an order p below the one that is observed, so that the estimate errs on the safe
side (see `observed_order`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Problem, select_shot
from pinnsiren.language.symbols import declaration_of

from .assembly import Grid, boundary_rows, boundary_scale, node_values, operator_matrix
from .box_reading import BoxReading, read_box
from .evaluation import check_finite
from .factorisation import Factorisation
from .incident import Background, narrowest_source, split_narrow_sources
from .layer import LAYER_POWER, Axis
from .multigrid import IterationError, MultigridSolver
from .multigrid import is_available as multigrid_is_available
from .observed_order import estimate_by_observed_order, relative_difference
from .protocol import AbstractReferenceSolver, FieldOnGrid, GridSolution, Support
from .resolution import with_unseen

Array = NDArray[Any]

REFINEMENT = 1.4
# Unknowns that SuperLU factorises in about 10 s on one core (2-D: 340^2 with stencils 3 wide), by dimension.
MOST_UNKNOWNS = {1: 40_000, 2: 116_000, 3: 30_000}
# The same for definite operators with multigrid: about a minute on one core, 2 GB.
MOST_UNKNOWNS_ITERATIVE = {1: 40_000, 2: 1_200_000, 3: 1_200_000}
# Where multigrid can take over from the factorisation: in 3-D that of order 6 needs half a minute for 15 000 unknowns.
ITERATIVE_ABOVE = {1: 40_000, 2: 116_000, 3: 5_000}
# Cells that closures of each order need, on the coarsest grid of a convergence study; more on the first grid of the ladder.
CLOSURE_CELLS = {2: 5, 4: 7, 6: 10}
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
            reading = read_box(problem)
        except ReferenceSolverError as error:
            return Support(False, str(error))
        return Support(True, f"one linear equation on a box, {len(reading.form.coordinates)}-D")

    def solve(self, problem: Problem) -> GridSolution:
        """Solve on a ladder of grids until the error estimate meets the tolerance or the system its largest size.

        Raises:
            ReferenceSolverError: not supported; incompatible Neumann data; a resonance.
        """
        start = time.perf_counter()
        reading = read_box(problem)
        order = self._order or (2 if reading.flux_jumps else 6)
        solution: FieldOnGrid | None = None
        estimate = np.inf
        differences: list[float] = []
        notes: list[str] = []
        for level, grid in enumerate(self._ladder(reading, order)):
            try:
                finer, left, made = _solve_on(reading, grid, self._threshold(reading, order))
            except IterationError:
                if level < 2:
                    raise
                notes.append("multigrid does not converge on the next grid, on which first-order or mixed derivatives outweigh the diffusion")
                break
            coarser, solution, notes, size = solution, finer, made, grid.size
            if level:
                assert coarser is not None
                free = reading.free_constant is not None
                difference, ratio = relative_difference(coarser, solution, free=free, kinks=reading.jumps)
                differences.append(difference)
                estimate = max(_ROUNDING, left, estimate_by_observed_order(differences, ratio, order, reading.jumps))
                estimate = with_unseen(estimate, problem, dict(zip(reading.form.coordinates, solution.axes, strict=True)))
                if self._cells is None and level > 1 and estimate <= self._tolerance:
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

    def _threshold(self, reading: BoxReading, order: int) -> float:
        """Standard deviation below which a Gaussian is split off: six steps of the first grid; none between periodic faces."""
        if reading.conditions.joined:
            # The closed form knows no images of the source.
            return 0.0
        if self._split is not None:
            return np.inf if self._split else 0.0
        return 6 * _first_step(reading, order)

    def _ladder(self, reading: BoxReading, order: int) -> list[Grid]:
        longest = reading.longest
        limit = self._most_unknowns or _most_unknowns(reading)
        if self._cells is not None:
            fewest = CLOSURE_CELLS[order]
            levels = 3 if self._cells >= fewest * REFINEMENT**2 else 2
            steps = [REFINEMENT ** (levels - 1 - level) * longest / self._cells for level in range(levels)]
            return [_grid(reading, step, order, level, fewest) for level, step in enumerate(steps)]
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
        # One coarser grid before them, so that the order shows.
        return [_grid(reading, first * REFINEMENT, order, -1), *grids]


def _is_iterative(reading: BoxReading) -> bool:
    """Whether systems beyond a factorisation are solved by multigrid: it needs a definite operator with one solution."""
    return reading.is_definite and reading.free_constant is None


def _direct_limit(grid: Grid) -> int:
    return (ITERATIVE_ABOVE if multigrid_is_available() else MOST_UNKNOWNS)[len(grid.axes)]


def _most_unknowns(reading: BoxReading) -> int:
    dimension = len(reading.conditions.bounds)
    return (MOST_UNKNOWNS_ITERATIVE if _is_iterative(reading) and multigrid_is_available() else MOST_UNKNOWNS)[dimension]


def _first_step(reading: BoxReading, order: int) -> float:
    step = reading.longest / FIRST_CELLS[order]
    fastest = float(np.max(reading.wavenumbers))
    if fastest > 0:
        step = min(step, 2 * np.pi / fastest / FIRST_POINTS_PER_WAVELENGTH[order])
    return step


def _grid(reading: BoxReading, step: float, order: int, level: int, fewest: int = FEWEST_CELLS) -> Grid:
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
        joined = axis in conditions.joined
        axes.append(replace(plain, before=depth[-1], behind=depth[1], strength=layered, sign=conditions.sign, joined=joined))
    return Grid(tuple(axes), order)


def _solve_on(reading: BoxReading, grid: Grid, threshold: float) -> tuple[FieldOnGrid, float, list[str]]:
    """The field on one grid, the relative error that an iterative solution leaves, and notes."""
    form, conditions = reading.form, reading.conditions
    backgrounds, sources = split_narrow_sources(form, threshold, conditions, not reading.is_complex)
    owner, rows = boundary_rows(conditions.rows, form.coordinates, grid)
    inside = owner.ravel() == -2
    matrix = sparse.csr_matrix(sparse.diags(inside.astype(float)) @ operator_matrix(form, grid) + rows)
    if not np.all(np.isfinite(matrix.data)):
        name = reading.problem.name
        raise ReferenceSolverError(f"a coefficient of `{name}` is not finite at a point of the grid; expected finite values everywhere")
    right = _right_hand_sides(reading, grid, owner, backgrounds, sources)
    if np.iscomplexobj(right):
        matrix = matrix.astype(complex)
    if np.iscomplexobj(matrix) and not reading.is_complex:
        raise ReferenceSolverError(f"`{reading.problem.name}` has complex coefficients or data and a real field; declare it with complex=True")
    separator = grid.order - 1 if form.fluxes else grid.order // 2
    notes, left = _notes(reading, grid, backgrounds), 0.0
    if reading.free_constant:
        values = _mean_free_solution(matrix, right, grid, inside, separator, reading)
    elif not np.any(right):
        values = np.zeros_like(right, dtype=matrix.dtype)
    elif _is_iterative(reading) and grid.size > _direct_limit(grid):
        notes.append("solved by GMRES with algebraic multigrid")
        multigrid = MultigridSolver(matrix.real, form, grid, conditions.rows, owner)
        values = multigrid.solve(right)
        left = multigrid.last_correction
    else:
        values = Factorisation(matrix, grid.shape, separator, conditions.joined).solve(right)
    stack = np.moveaxis(values.reshape((*grid.shape, -1)), -1, 0)[(slice(None), *grid.inside)]
    stack = grid.unfold(stack, leading=1)
    if reading.free_constant:
        stack = stack - _mean(grid.inside_axes, stack)
    shots = reading.shots
    declaration = declaration_of(reading.problem.fields[0])
    field = FieldOnGrid(declaration.name, grid.inside_axes, stack if shots is not None else stack[0], backgrounds, shots, form.coordinates)
    return field, left, notes


def _mean(axes: tuple[Array, ...], stack: Array) -> Array:
    """Mean over the box per shot, shaped to broadcast: of splines, since sums of nodes are of second order only."""
    values = stack
    for nodes in reversed(axes):
        last = np.moveaxis(values, -1, 0)
        parts = [make_interp_spline(nodes, part, k=5).integrate(nodes[0], nodes[-1]) for part in (last.real, last.imag)]
        values = (parts[0] + 1j * parts[1] if np.iscomplexobj(last) else parts[0]) / (nodes[-1] - nodes[0])
    return np.asarray(values).reshape(-1, *(1 for _ in axes))


def _notes(reading: BoxReading, grid: Grid, backgrounds: tuple[Background | None, ...]) -> list[str]:
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
    if reading.free_constant:
        notes.append(f"{reading.free_constant} conditions: the mean-free solution")
    if reading.conditions.joined:
        names = ", ".join(str(reading.form.coordinates[axis]) for axis in sorted(reading.conditions.joined))
        notes.append(f"periodic along {names}: wrapped stencils")
    if _is_iterative(reading) and len(grid.axes) == 3 and not multigrid_is_available():
        notes.append("solved directly, which limits its size; pip install pinnsiren[oracles] brings multigrid")
    return notes


def _right_hand_sides(
    reading: BoxReading, grid: Grid, owner: Array, backgrounds: tuple[Background | None, ...], sources: tuple[Any, ...]
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
        check_finite(column, source, np.meshgrid(*grid.data_axes(), indexing="ij"), form.coordinates)
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


def _mean_free_solution(matrix: Any, right: Array, grid: Grid, inside: Array, separator: int, reading: BoxReading) -> Array:
    """Solve with a multiplier that takes up the mean of the data; it must be small against the data, else there is no solution."""
    column = sparse.csr_matrix(inside.astype(float)[:, None])
    weights = np.ones(grid.shape)
    for axis, a in enumerate(grid.axes):
        ends = np.ones(a.n_nodes)
        if not a.joined:
            ends[[0, -1]] = 0.5
        weights = weights * grid.along(axis, ends)
    weights = weights.ravel() / weights.sum()
    bordered = sparse.bmat([[matrix, column], [sparse.csr_matrix(weights[None, :]), None]], format="csr")
    solved = Factorisation(bordered, grid.shape, separator, reading.conditions.joined).solve(np.vstack([right, np.zeros((1, right.shape[1]))]))
    multiplier, values = solved[-1], solved[:-1]
    size = np.max(np.abs(right[inside]), initial=0.0) + np.max(np.abs(matrix @ values)[inside], initial=0.0)
    worst = complex(multiplier[np.argmax(np.abs(multiplier))])
    if abs(worst) > _INCOMPATIBLE * max(size, 1e-300):
        integral = worst * reading.measure
        shown = f"{integral.real:.4g}" if integral.imag == 0 else f"{integral:.4g}"
        raise ReferenceSolverError(
            f"`{reading.problem.name}` has {reading.free_constant} data whose integral is {shown}: the source minus what flows through the boundary "
            "must integrate to zero, else no solution exists"
        )
    return np.asarray(values)
