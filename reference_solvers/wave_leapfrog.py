"""Reference solver for the wave equation on a box: explicit steps in time on grids, absorbing layers on faces into free space.

    alpha(x) u_tt - a(x) Lap u = f(x, t),   c^2 = a/alpha,

in 1-D to 3-D, real or complex data, several shots; Dirichlet and Neumann walls with any data, homogeneous ones (free surface among them) as mirrors;
declared layers and faces without condition as free space: a C-PML (see `time_domain.absorbing_layers`), or more grid where the waves cannot come
back in the time declared.

Order 8 in space and time where speed, sources and data continue smoothly behind all walls (or there are none); order 4 otherwise: the closures at
walls with data are of order 4, and so is what a jump of the speed deserves. Unlike `evolution_box`, which integrates a system of first order in
time by Runge-Kutta steps, this solver steps the second-order equation by the modified equation.

The error estimate comes from the three finest of a ladder of grids with steps in the ratio 1.4: the difference of the last two over r^p - 1,
p four fifths of the order that the two differences show, at most that of the scheme; plus what splines lose between the nodes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Problem, select_shot
from pinnsiren.language.symbols import declaration_of

from .evaluation import evaluator
from .observed_order import where_grids_approach
from .protocol import AbstractReferenceSolver, FieldOnGrid, GridSolution, Support
from .resolution import with_unseen
from .time_domain.declared_run import FEWEST_CELLS, MOST_STORED, DeclaredRun, Scheme
from .time_domain.declared_wave import DeclaredWave, read_wave
from .time_domain.grid_functions import at_instant, doubled, interpolation_error, resampled

Array = NDArray[Any]

REFINEMENT = 1.4
ORDERS = (2, 4, 8)
FEWEST_GRIDS = 3
FIRST_CELLS = 24
# Nodes times applications of the Laplacian, that take about 15 s on one core (20 ns each); a small grid costs as much as one of 3,000 nodes.
MOST_WORK = 7e8
_OVERHEAD_NODES = 3_000
# Nodes per root mean square wavelength/(2 pi) on the first grid: a Gaussian has 1.7 per standard deviation, for 1e-2 at order 8.
_FIRST_RESOLUTION = 0.6
_PROBES = {1: 2048, 2: 300, 3: 64}
_COMPARED_INSTANTS = 25
# Alternating, so that what the layers return shows in the difference of two grids.
_LAYER_WAVELENGTHS = (1.3, 1.5)
_ROUNDING = 1e-12


@dataclass(frozen=True)
class _Scales:
    """What the data say about the waves.

    Attributes:
        wavenumber: largest root mean square wavenumber of initial data and sources.
        frequency: smallest dominant frequency, cycles per unit of time.
    """

    wavenumber: float
    frequency: float


class WaveLeapfrogSolver(AbstractReferenceSolver):
    """Explicit finite differences for `u_tt = c^2 Lap u + f`.

    Args:
        order: in space, 2, 4 or 8; None chooses 8 or 4, see the module.
        time_order: 2, 4, 6 or 8; None chooses that of the space.
        tolerance: relative L2 error estimate at which the refinement stops.
        cells: cells of the longest side on the finest grid, instead of the ladder; for convergence studies.
        of_limit: time step relative to the CFL limit.

    Raises:
        ReferenceSolverError: an unknown order.
    """

    name = "wave_leapfrog"

    def __init__(
        self, *, order: int | None = None, time_order: int | None = None, tolerance: float = 1e-4, cells: int | None = None, of_limit: float = 0.9
    ) -> None:
        if order not in (None, *ORDERS) or time_order not in (None, 2, 4, 6, 8):
            given = f"order={order}, time_order={time_order}"
            raise ReferenceSolverError(f"the wave solver was given {given}; known are 2, 4, 8 in space and 2, 4, 6, 8 in time")
        if not 0 < of_limit <= 1:
            raise ReferenceSolverError(f"the wave solver was given of_limit={of_limit}; beyond 1 the steps are unstable, expected a number in (0, 1]")
        self._order, self._time_order, self._tolerance, self._cells, self._of_limit = order, time_order, tolerance, cells, of_limit
        self.order = order or max(ORDERS)

    def supports(self, problem: Problem) -> Support:
        """Whether the problem is a wave equation on a box."""
        try:
            wave = read_wave(problem)
        except ReferenceSolverError as error:
            return Support(False, str(error))
        return Support(True, f"a wave equation on a box, {len(wave.space)}-D")

    def solve(self, problem: Problem) -> GridSolution:
        """March on a ladder of grids until the error estimate meets the tolerance or the work its limit.

        Raises:
            ReferenceSolverError: not supported, or too little memory.
        """
        start = time.perf_counter()
        wave = read_wave(problem)
        scales = _scales(wave)
        mirrors = self._mirrors(wave)
        order = self._order or (8 if mirrors and not wave.jumps else 4)
        time_order = self._time_order or (order if wave.time_derivatives_exist else 2)
        solved: list[_Solved] = []
        differences: list[float] = []
        estimate = np.inf
        longest = max(high - low for low, high in wave.conditions.bounds)
        for level, cells in enumerate(self._ladder(wave, scales)):
            thickness = _LAYER_WAVELENGTHS[level % 2]
            scheme = Scheme(longest / cells, order, time_order, mirrors, scales.frequency, layer_wavelengths=thickness, of_limit=self._of_limit)
            run = DeclaredRun(wave, scheme)
            if level >= FEWEST_GRIDS and _is_too_large(run):
                break
            solved = [*solved[-1:], _Solved(run, run.integrate())]
            if level:
                differences.append(_difference(*solved))
            if level >= FEWEST_GRIDS - 1:
                estimate = _estimate(differences[-2:], min(order, time_order), wave.jumps)
                if self._cells is None and estimate <= self._tolerance:
                    break
        finest = solved[-1].run
        field, between = _field(solved[-1])
        axes = dict(zip(wave.coordinates, field.axes, strict=True))
        estimate = with_unseen(float(np.hypot(estimate, between)), problem, axes)
        return GridSolution(
            problem=problem.name,
            coordinates=wave.coordinates,
            axes=axes,
            values={field.name: field.values},
            error_estimate=estimate,
            seconds=time.perf_counter() - start,
            n_unknowns=finest.grid.size,
            solver=self.name,
            order=min(order, time_order),
            notes=_notes(finest),
            fields={field.name: field},
        )

    def _mirrors(self, wave: DeclaredWave) -> bool:
        mirrors = wave.walls_are_mirrors()
        if self._order == 8 and not mirrors:
            raise ReferenceSolverError(
                f"`{wave.problem.name}` has walls with data, or a speed or source that does not continue smoothly behind them; "
                "order 8 needs walls that are mirrors: use order 4"
            )
        # The closures of order 4 hold with and without symmetry.
        return mirrors and self._order != 4

    def _ladder(self, wave: DeclaredWave, scales: _Scales) -> list[float]:
        if self._cells is not None:
            return [self._cells / REFINEMENT**2, self._cells / REFINEMENT, float(self._cells)]
        longest = max(high - low for low, high in wave.conditions.bounds)
        shortest = min(high - low for low, high in wave.conditions.bounds)
        first = max(FIRST_CELLS, FEWEST_CELLS * longest / shortest, scales.wavenumber * longest * _FIRST_RESOLUTION * 2)
        return [first * REFINEMENT**level for level in range(24)]


def _is_too_large(run: DeclaredRun) -> bool:
    shots = len(run.wave.sources)
    return shots * run.applications * (run.grid.size + _OVERHEAD_NODES) > MOST_WORK or shots * run.n_stored > MOST_STORED


@dataclass(frozen=True)
class _Solved:
    """A run and what it gave, one (n_instants, *nodes) per shot."""

    run: DeclaredRun
    histories: list[Array]

    @property
    def axes(self) -> list[Array]:
        """Kept nodes of the box per space axis."""
        return self.run.nodes


def _field(solved: _Solved) -> tuple[FieldOnGrid, float]:
    """The callable field, and the relative error of calling it between its nodes.

    At order 8 the nodes are better than the quintic splines between them: there the field is given on twice as many per axis, where they can be kept.
    """
    run, wave, histories = solved.run, solved.run.wave, solved.histories
    declaration = declaration_of(wave.problem.fields[0])
    axes = [run.instants, *solved.axes]
    if run.scheme.order == 8 and len(histories) * run.n_stored * 2 ** len(axes) <= MOST_STORED:
        for axis, nodes in enumerate(axes):
            histories = [resampled(history, axis, nodes, doubled(nodes)) for history in histories]
        axes = [doubled(nodes) for nodes in axes]
    between = max(interpolation_error(history, axes) for history in histories)
    place = wave.coordinates.index(wave.time)
    stack = np.stack([np.moveaxis(history, 0, place) for history in histories])
    if declaration.is_complex:
        stack = stack.astype(complex)
    positions = (*axes[1 : place + 1], axes[0], *axes[place + 1 :])
    nothing: tuple[None, ...] = (None,) * len(stack)
    values = stack if declaration.shots is not None else stack[0]
    return FieldOnGrid(declaration.name, positions, values, nothing, declaration.shots, wave.coordinates), between


def _difference(coarse: _Solved, fine: _Solved) -> float:
    """Relative L2 difference on the coarse nodes, at instants without a common period: a wave that stands still at all of them has no phase."""
    instants = coarse.run.instants
    golden = np.modf(0.5 * (np.sqrt(5) - 1) * np.arange(1, _COMPARED_INSTANTS))[0]
    chosen = np.unique(np.append(np.rint(golden * (len(instants) - 1)).astype(int), len(instants) - 1))
    gap, size = 0.0, 0.0
    for rough, history in zip(coarse.histories, fine.histories, strict=True):
        finer = np.stack([at_instant(history, fine.run.instants, instants[i]) for i in chosen])
        for axis, (nodes, targets) in enumerate(zip(fine.axes, coarse.axes, strict=True)):
            finer = resampled(finer, axis + 1, nodes, targets)
        gap += float(np.sum(np.abs(rough[chosen] - finer) ** 2))
        size += float(np.sum(np.abs(rough[chosen]) ** 2))
    return float(np.sqrt(gap / max(size, 1e-300)))


def _estimate(differences: list[float], order: int, jumps: bool) -> float:
    earlier, last = differences
    shown = np.log(max(earlier, 1e-300) / max(last, 1e-300)) / np.log(REFINEMENT)
    # Coarse grids show a higher order than the next step of refinement keeps.
    p = 1.0 if jumps else max(0.8 * min(float(shown), order), 1.0)
    return where_grids_approach(float(max(_ROUNDING, last / (REFINEMENT**p - 1))), last, float(shown))


def _scales(wave: DeclaredWave) -> _Scales:
    """Root mean square wavenumbers and frequencies of initial data and sources, on a fine sample."""
    points = wave.sample(_PROBES[len(wave.space)])
    steps = [(high - low) / (_PROBES[len(wave.space)] - 1) for low, high in wave.conditions.bounds]
    instants = np.linspace(*wave.span, 2001)
    longest = max(high - low for low, high in wave.conditions.bounds)
    wavenumbers, frequencies = [0.0], []
    for shot, source in enumerate(wave.sources):
        for expression in (*(select_shot(e, shot) for e in wave.initial), source):
            if expression == 0:
                continue
            evaluate = evaluator(expression, (*wave.space, wave.time))
            candidates = [np.array(evaluate(*points, instant)) for instant in np.linspace(*wave.span, 7)]
            values = max(candidates, key=lambda sample: float(np.max(np.abs(sample))))
            k = _root_mean_square_rate(values, steps)
            wavenumbers.append(k)
            if sp.sympify(expression).has(wave.time):
                loud = [p.ravel()[np.argmax(np.abs(values))] for p in points]
                rate = _root_mean_square_rate(np.array(evaluate(*loud, instants)), [instants[1] - instants[0]])
                wavenumbers.append(rate / wave.slowest)
                frequencies.append(rate / (2 * np.pi))
            else:
                frequencies.append(k * wave.fastest / (2 * np.pi))
    audible = [f for f in frequencies if f > 0]
    return _Scales(max(wavenumbers), min(audible, default=4 * wave.fastest / longest))


def _root_mean_square_rate(values: Array, steps: list[float]) -> float:
    """sqrt(int |grad v|^2 / int v^2) by differences."""
    slopes = sum(float(np.sum(np.abs(np.diff(values, axis=axis) / step) ** 2)) for axis, step in enumerate(steps))
    return float(np.sqrt(slopes / max(float(np.sum(np.abs(values) ** 2)), 1e-300)))


def _notes(run: DeclaredRun) -> tuple[str, ...]:
    wave, scheme = run.wave, run.scheme
    cells = ", ".join(f"{symbol}: {axis.cells}" for symbol, axis in zip(wave.space, run.axes, strict=True))
    if run.thinned > 1:
        cells += " (every second node kept)"
    notes = [
        f"cells inside the box: {cells}; {run.n_steps} time steps, every {run.stride}th kept",
        f"order {scheme.order} in space, {scheme.time_order} in time" + (", walls as mirrors" if scheme.mirrors and wave.conditions.rows else ""),
    ]
    if run.layers:
        thickest = max(run.layers.values(), key=lambda design: design.cells)
        notes.append(f"free space: {thickest}; the declared width and strength are not used")
    elif wave.open_faces:
        notes.append("free space: grid extended, nothing returns in the time declared")
    if wave.jumps:
        notes.append("the speed jumps: slowness squared averaged over cells, error estimated as first order")
    return tuple(notes)
