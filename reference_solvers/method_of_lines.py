"""Reference solver for time-dependent problems on a box, nonlinear or with coefficients that depend on time: the method of lines.

    u_t  = F(x, t, u, grad u, second derivatives)       diffusion, transport with diffusion, reaction; several fields, complex ones too
    u_tt = F(x, t, u, u_t, grad u, ...)                 nonlinear waves, as a first-order system of u and v = u_t

in 1-D, 2-D and small 3-D, with Dirichlet, Neumann, Robin walls and periodic axes. A field without second derivatives along an axis may leave a face
without a condition (outflow); for waves such a face means free space, and the grid is extended so far that nothing returns in the time declared.
Differences of order 2, 4 or 6 in space; SciPy's integrators in time with the analytic sparse Jacobian.

The error estimate comes from the observed convergence of the last three grids, at scattered points and instants. The tolerance of the integrator
is tightened from grid to grid, so that errors in time show in the differences too.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Problem
from pinnsiren.language.symbols import declaration_of

from .incident import narrowest_source
from .nonlinear.evolution_system import LARGEST_EXPLICIT, EvolutionReading, EvolutionSystem, evolution_grid, read_evolution
from .nonlinear.marching import BreakdownError, March
from .nonlinear.refinement import Ladder
from .nonlinear.tensor_operators import TensorGrid
from .protocol import AbstractReferenceSolver, FieldOnGrid, GridSolution, Support
from .resolution import with_unseen

Array = NDArray[Any]

ORDERS = (2, 4, 6)
DEFAULT_ORDER = 4
REFINEMENT = 1.4
# Real unknowns that integrate in about 30 s on one core with factorisations; explicit steps take more of them.
MOST_UNKNOWNS = {1: 10_000, 2: 12_000, 3: 4_000}
_EXPLICIT_FACTOR = 4
TOLERANCES = {1: 1e-6, 2: 1e-5, 3: 1e-4}
FIRST_CELLS = {1: 48, 2: 20, 3: 10}
# Largest factor from grid to grid, taken while the estimate is far from the tolerance.
_LONGEST_STRIDE = 2.0
_SMALLEST_STRIDE = 1.2
# The tolerance of the integrator on the first grid by dimension (far below the errors in space, which the grids are to show), how much it shrinks at
# least from grid to grid, where it stops, and its part of the error.
_FIRST_RTOL = {1: 1e-8, 2: 1e-7, 3: 1e-6}
_RTOL_RATIO, _LAST_RTOL, _TIME_SHARE = 0.25, 1e-10, 0.005
# Global errors of Radau per unit of its tolerance, 0.05 to 0.2 on decaying problems: the floor of the estimate.
_GLOBAL_OVER_LOCAL = 0.2
_STUDY_RTOL = 1.6e-9
_MOST_FAILURES = 4


class MethodOfLinesSolver(AbstractReferenceSolver):
    """Finite differences in space, SciPy's integrators in time.

    Args:
        order: of the differences, 2, 4 or 6; None chooses 2 where a coefficient jumps, else 4.
        tolerance: relative L2 error estimate at which the refinement stops; None for the default of the dimension.
        most_unknowns: real unknowns on the finest grid; None for the default of the dimension.
        cells: cells of the longest side on the finest grid, instead of the ladder; for convergence studies.
    """

    name = "method_of_lines"

    def __init__(
        self, *, order: int | None = None, tolerance: float | None = None, most_unknowns: int | None = None, cells: int | None = None
    ) -> None:
        if order not in (None, *ORDERS):
            raise ReferenceSolverError(f"the method of lines was given order={order}; its orders are 2, 4 and 6")
        self._order, self._tolerance, self._most_unknowns, self._cells = order, tolerance, most_unknowns, cells
        self.order = order or DEFAULT_ORDER

    def supports(self, problem: Problem) -> Support:
        """Whether the problem is an evolution of first or second order in time on a box."""
        try:
            reading = read_evolution(problem)
        except ReferenceSolverError as error:
            return Support(False, str(error))
        kind = "waves" if reading.is_wave else "evolution"
        return Support(True, f"{kind} of {len(problem.fields)} field(s) on a box, {len(reading.symbols.space)}-D, by the method of lines")

    def solve(self, problem: Problem) -> GridSolution:
        """Integrate on a ladder of grids until the error estimate meets the tolerance or the budget is spent.

        Raises:
            ReferenceSolverError: not supported, or the solution blows up.
        """
        start = time.perf_counter()
        reading = read_evolution(problem)
        order = self._order or (2 if reading.jumps else DEFAULT_ORDER)
        ladder = Ladder([problem.domain.bounds[s] for s in problem.domain.coordinates], 1 if reading.jumps else order)
        # With a given number of cells the errors of the grid are wanted, not those of the integrator.
        cells, rtol = _first_cells(reading), _FIRST_RTOL[len(reading.symbols.space)]
        if self._cells is not None:
            cells, rtol = self._cells / REFINEMENT**2, _STUDY_RTOL
        compiled, failures = None, 0
        while True:
            grid = evolution_grid(reading, cells, order)
            systems = [EvolutionSystem(reading, grid, shot, compiled[shot] if compiled else None) for shot in range(len(reading.rates))]
            compiled = [system.compiled for system in systems]
            try:
                fields, instants = _fields(reading, grid, [system.march(rtol) for system in systems], systems)
            except BreakdownError:
                # Fronts that a grid does not resolve make central differences grow; true blow-up comes back on every grid.
                failures += 1
                if self._cells is not None or failures > _MOST_FAILURES or 2 ** len(grid.lines) * grid.size > self._limit(reading):
                    raise
                cells = 2 * cells
                ladder.restarted()
                continue
            estimate = ladder.add(cells, fields) + _GLOBAL_OVER_LOCAL * rtol
            stride = self._stride(systems[0], estimate, len(ladder))
            if stride is None:
                break
            aim = _TIME_SHARE * estimate / stride**order if np.isfinite(estimate) else rtol
            rtol, cells = max(min(_RTOL_RATIO * rtol, aim), _LAST_RTOL), cells * stride
        # The instants are the steps of the integrator: no finer grid in space would see what they leap over.
        estimate = with_unseen(estimate, problem, dict(zip(problem.domain.coordinates, fields[0].axes, strict=True)))
        return GridSolution(
            problem=problem.name,
            coordinates=tuple(problem.domain.coordinates),
            axes=dict(zip(problem.domain.coordinates, fields[0].axes, strict=True)),
            values={field.name: field.values for field in fields},
            error_estimate=float(estimate),
            seconds=time.perf_counter() - start,
            n_unknowns=_unknowns(reading, grid),
            solver=self.name,
            order=order,
            notes=(f"cells: {' x '.join(str(line.cells) for line in grid.lines)}, {instants} instants, step tolerance {rtol:.0e}", *ladder.notes()),
            fields={field.name: field for field in fields},
        )

    def _limit(self, reading: EvolutionReading) -> int:
        return self._most_unknowns or MOST_UNKNOWNS[len(reading.symbols.space)]

    def _room(self, system: EvolutionSystem) -> float:
        """The largest factor to the next grid that the number of unknowns allows, more where the next grid is integrated explicitly too."""
        limit, dimension = self._limit(system.reading), len(system.grid.lines)
        room = float((limit / _unknowns(system.reading, system.grid)) ** (1 / dimension))
        if self._most_unknowns is not None:
            return room
        # The stiffness of diffusion grows with the square of the number of cells.
        explicit = min(room * _EXPLICIT_FACTOR ** (1 / dimension), float(np.sqrt(LARGEST_EXPLICIT / max(system.stiffness, 1e-300))))
        return float(max(room, explicit))

    def _stride(self, system: EvolutionSystem, estimate: float, done: int) -> float | None:
        """The factor to the next grid, None to stop; three grids at least, for the observed order."""
        if self._cells is not None:
            return REFINEMENT if done < 3 else None
        room, order = self._room(system), system.grid.lines[0].order
        if done < 3:
            return max(min(REFINEMENT, room), _SMALLEST_STRIDE)
        tolerance = self._tolerance or TOLERANCES[len(system.grid.lines)]
        if estimate <= tolerance or room < _SMALLEST_STRIDE:
            return None
        wanted = (estimate / (0.4 * tolerance)) ** (1 / order)
        return float(min(np.clip(wanted, REFINEMENT, _LONGEST_STRIDE), room))


def _unknowns(reading: EvolutionReading, grid: TensorGrid) -> int:
    return grid.size * len(reading.symbols.components)


def _first_cells(reading: EvolutionReading) -> float:
    first = float(FIRST_CELLS[len(reading.symbols.space)])
    longest = max(high - low for low, high in reading.bounds)
    narrowest = narrowest_source([*reading.problem.equations, *reading.initial.values()])
    return max(first, min(2 * longest / narrowest, 300.0)) if np.isfinite(narrowest) else first


def _fields(
    reading: EvolutionReading, grid: TensorGrid, marches: Sequence[March], systems: Sequence[EvolutionSystem]
) -> tuple[list[FieldOnGrid], int]:
    """The fields on the declared box; every shot has steps of its own and is brought to those of all."""
    problem, place = reading.problem, reading.problem.domain.coordinates.index(reading.symbols.time)
    instants = np.unique(np.concatenate([march.instants for march in marches]))
    stacks: list[list[Array]] = [[] for _ in problem.fields]
    positions: list[Array] = []
    for march, system in zip(marches, systems, strict=True):
        snapshots = [system.components(float(s), state)[1] for s, state in zip(march.instants, march.states, strict=True)]
        for number in range(len(problem.fields)):
            chosen = [(i, c.factor) for i, c in enumerate(reading.symbols.components) if c.field == number and c.time_order == 0]
            values = np.stack([sum((1j if f == sp.I else 1.0) * s[i] for i, f in chosen) for s in snapshots], axis=-1)
            wrapped, positions = grid.wrapped(values.reshape((*grid.shape, -1)))
            if len(marches) > 1 and not reading.is_wave:
                wrapped = make_interp_spline(march.instants, wrapped, k=5, axis=-1)(instants)
            stacks[number].append(np.moveaxis(wrapped, -1, place))
    axes = list(positions)
    axes.insert(place, instants)
    fields = []
    for field, stack in zip(problem.fields, stacks, strict=True):
        declaration = declaration_of(field)
        smooth = np.stack(stack) if declaration.shots is not None else stack[0]
        nothing: tuple[None, ...] = (None,) * len(stack)
        fields.append(FieldOnGrid(declaration.name, tuple(axes), smooth, nothing, declaration.shots, tuple(problem.domain.coordinates)))
    return fields, len(instants)
