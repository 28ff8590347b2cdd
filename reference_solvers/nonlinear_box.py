"""Reference solver for steady nonlinear equations on a box: finite differences, Newton's method, one or several fields.

    R_i(x, u, grad u, second derivatives) = 0      in 1-D, 2-D and small 3-D

The residual is read from the declaration as an expression of jets, its Jacobian is that expression differentiated by SymPy. Dirichlet, Neumann,
Robin faces (their data may hold the fields, as a radiation law does) and periodic axes. Differences of order 2, 4 or 6 in space, fluxes in flux
form. Newton's method starts from zero, so that its first step is the linearised problem, is damped, and falls back on continuation.

A nonlinear problem may have several solutions. Newton's method is run from further starts on the coarsest grid; when one of them leads elsewhere,
the notes say so: then this solution is the one that continues the linearised problem.

The error estimate comes from the observed convergence of the last three grids.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Problem

from .incident import narrowest_source
from .nonlinear.newton import NewtonResult
from .nonlinear.refinement import Ladder
from .nonlinear.steady_system import SteadyReading, SteadySystem, read_steady
from .nonlinear.tensor_operators import Line, TensorGrid
from .protocol import AbstractReferenceSolver, FieldOnGrid, GridSolution, Support
from .resolution import with_unseen

Array = NDArray[Any]

REFINEMENT = 1.4
ORDERS = (2, 4, 6)
# Real unknowns whose Newton steps take about 2 s each on one core.
MOST_UNKNOWNS = {1: 20_000, 2: 60_000, 3: 12_000}
FIRST_CELLS = {1: 40, 2: 24, 3: 10}
# On the first grid, per standard deviation of a Gaussian source.
_STEPS_PER_DEVIATION = 2.0
# Solutions further apart than this (relative) are different; the error of the coarsest grid is smaller where Newton's method converges.
_DIFFERENT = 1e-3
_SEED = 11
_MOST_FAILURES = 3
# No estimate below what Newton's method leaves.
_ROUNDING = 1e-11


class NonlinearBoxSolver(AbstractReferenceSolver):
    """Newton's method on finite differences of order 2, 4 or 6.

    Args:
        order: 2, 4 or 6; None chooses 2 where a coefficient jumps, else 6.
        tolerance: relative L2 error estimate at which the refinement stops.
        most_unknowns: size of the finest system; None for the default of the dimension.
        cells: cells of the longest side on the finest grid, instead of the ladder; for convergence studies.
    """

    name = "nonlinear_box"

    def __init__(self, *, order: int | None = None, tolerance: float = 1e-6, most_unknowns: int | None = None, cells: int | None = None) -> None:
        if order not in (None, *ORDERS):
            raise ReferenceSolverError(f"the nonlinear solver was given order={order}; its orders are 2, 4 and 6")
        self._order, self._tolerance, self._most_unknowns, self._cells = order, tolerance, most_unknowns, cells
        self.order = order or ORDERS[-1]

    def supports(self, problem: Problem) -> Support:
        """Whether the problem is a steady nonlinear one (or one of several fields) on a box."""
        try:
            reading = read_steady(problem)
        except ReferenceSolverError as error:
            return Support(False, str(error))
        if len(problem.fields) == 1 and reading.is_linear:
            return Support(False, f"`{problem.name}` is linear in its only field, which the solvers of linear equations are made for")
        return Support(True, f"{len(problem.fields)} steady equation(s) on a box, {len(reading.symbols.space)}-D, by Newton's method")

    def solve(self, problem: Problem) -> GridSolution:
        """Solve on a ladder of grids until the error estimate meets the tolerance or the system its largest size.

        Raises:
            ReferenceSolverError: not supported, or Newton's method found no solution.
        """
        start = time.perf_counter()
        reading = read_steady(problem)
        order = self._order or (2 if reading.jumps else ORDERS[-1])
        fields: list[FieldOnGrid] = []
        notes: list[str] = []
        failure: NewtonResult | None = None
        # Where a coefficient jumps, its place between the nodes makes the errors of successive grids erratic.
        ladder = Ladder([problem.domain.bounds[s] for s in reading.symbols.space], 1 if reading.jumps else order)
        estimate, steps, failed, compiled = np.inf, 0, 0, None
        for cells in self._ladder(reading, order):
            system = SteadySystem(reading, _grid(reading, cells, order), compiled)
            compiled = system.compiled
            results = [self._solved(system, shot, fields, cells) for shot in range(len(reading.equations))]
            steps += sum(r.steps for r in results)
            failure = next((r for r in results if not r.converged), None)
            if failure is not None:
                # A grid may be too coarse for a solution to exist on it; three are not.
                failed, fields = failed + 1, []
                if failed == _MOST_FAILURES:
                    break
                continue
            if not fields:
                notes = _uniqueness(system, [r.values for r in results])
            fields = system.fields([r.values for r in results])
            estimate = max(_ROUNDING, ladder.add(max(line.n for line in system.grid.lines), fields))
            estimate = with_unseen(estimate, problem, dict(zip(reading.symbols.space, fields[0].axes, strict=True)))
            if self._cells is None and len(ladder) > 2 and estimate <= self._tolerance:
                break
        if failure is not None or not fields:
            raise ReferenceSolverError(_failure_message(problem, system.grid, failure))
        return GridSolution(
            problem=problem.name,
            coordinates=reading.symbols.space,
            axes=dict(zip(reading.symbols.space, fields[0].axes, strict=True)),
            values={field.name: field.values for field in fields},
            error_estimate=float(estimate),
            seconds=time.perf_counter() - start,
            n_unknowns=system.grid.size * reading.n_components,
            solver=self.name,
            order=order,
            notes=(f"cells: {' x '.join(str(line.n) for line in system.grid.lines)}; {steps} Newton steps on all grids", *ladder.notes(), *notes),
            fields={field.name: field for field in fields},
        )

    def _solved(self, system: SteadySystem, shot: int, coarser: list[FieldOnGrid], cells: float) -> NewtonResult:
        """Newton's method; where it fails at a high order it starts from the solution of order 2, whose narrow closures bend less."""
        result = system.solve(shot, coarser)
        if result.converged or system.grid.lines[0].order == 2:
            return result
        lower = SteadySystem(system.reading, _grid(system.reading, cells, 2), system.compiled)
        simple = lower.solve(shot, ())
        if not simple.converged:
            return result
        # Only this shot is solved; the others are not read.
        guess = lower.fields([simple.values] * len(system.reading.equations))
        again = system.solve(shot, guess)
        return again if again.converged else result

    def _ladder(self, reading: SteadyReading, order: int) -> list[float]:
        """Cells along the longest side, coarsest first."""
        dimension = len(reading.symbols.space)
        if self._cells is not None:
            return [self._cells / REFINEMENT**2, self._cells / REFINEMENT, self._cells]
        first = float(FIRST_CELLS[dimension])
        bounds = reading.problem.domain.bounds.values()
        longest = max(high - low for low, high in bounds)
        narrowest = narrowest_source(reading.problem.equations)
        if np.isfinite(narrowest):
            first = max(first, min(_STEPS_PER_DEVIATION * longest / narrowest, 300.0))
        limit = self._most_unknowns or MOST_UNKNOWNS[dimension]
        steps = [first]
        while _grid(reading, steps[-1] * REFINEMENT, order).size * reading.n_components <= limit or len(steps) < 2:
            steps.append(steps[-1] * REFINEMENT)
        return steps


def _grid(reading: SteadyReading, cells: float, order: int) -> TensorGrid:
    bounds = [reading.problem.domain.bounds[s] for s in reading.symbols.space]
    longest = max(high - low for low, high in bounds)
    lines = []
    for axis, (low, high) in enumerate(bounds):
        # Closures of order 6 need eleven points.
        count = max(int(np.ceil(cells * (high - low) / longest - 1e-9)), 2 * order)
        lines.append(Line(low, high, count, order, periodic=axis in reading.faces[0].periodic))
    return TensorGrid(tuple(lines))


def _uniqueness(system: SteadySystem, solutions: Sequence[Array]) -> list[str]:
    distance = max(system.other_solution(shot, values) for shot, values in enumerate(solutions))
    if distance == 0:
        return []
    return [
        f"the solution is not unique: another start of Newton's method led to one at a relative distance of {distance:.2g}; this is the one that "
        "continues the linearised problem"
    ]


def _failure_message(problem: Problem, grid: TensorGrid, failure: NewtonResult | None) -> str:
    size = " x ".join(str(line.n) for line in grid.lines)
    reached = failure.reached if failure else 0.0
    reason = f" ({failure.reason})" if failure and failure.reason else ""
    return (
        f"Newton's method found no solution of `{problem.name}` on grids up to {size} cells: damped steps stalled{reason}, and continuation from the "
        f"linearised problem came to {100 * reached:.0f} % of the way. Either no solution exists for these data (past a fold, of the kind of "
        "lap u + c exp(u) = 0 with a large c), or it is far from the linearised one: check the sign of the nonlinear term, or make the data smaller"
    )
