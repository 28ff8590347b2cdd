"""Reference solver for the eikonal equation `|grad T| = s` on a box: factored fast sweeping, corrected to second order.

Point sources (`Dirichlet(T, 0, on={x: .., y: ..})`), on the grid or off it; distance fields and travel times from faces of the box or from a
domain inside it; 1-D, 2-D, 3-D; any squared slowness that is positive. With shots, observed zeros (`Observations(T, points, 0)`) are read as the
sources of each shot when there is no Dirichlet condition.

The box is all there is: a ray that would leave it and come back is not seen, and where only such rays arrive first T is that of the fastest path
inside, which is later than the closed form of the unbounded medium.

Several sources are solved one by one and T is the earliest of them, which is the viscosity solution: the kink between two of them is then sharp,
and no difference reaches across it.

The error estimate compares three grids, steps h, 1.4 h and 2 h: their differences show the order that this problem allows (2 where T is smooth, less
where rays meet or fan out at corners, 1 where the speed jumps), and the difference is divided by r^p - 1 with that order.

Reference: see `sweeping` and `upwind_correction`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Problem
from pinnsiren.language.symbols import declaration_of

from .eikonal_declaration import EikonalReading, FaceSource, PointSource, RegionSource, WaveSource, check_slowness, read_eikonal
from .evaluation import cell_average, evaluator
from .protocol import AbstractReferenceSolver, FieldOnGrid, GridSolution, Support
from .resolution import with_unseen
from .sweeping import Start, SweepingGrid, plain_start, point_start, region_start, sweep
from .upwind_correction import second_order

Array = NDArray[Any]
Nodes = NDArray[np.float64]

REFINEMENT = 1.4
# First grid, cells along the longest side; the error there is about 1e-4 in 2-D on smooth media.
FIRST_CELLS = {1: 40, 2: 32, 3: 16}
FEWEST_CELLS = 6
# Nodes times sources of the finest grid, about 10 s on one core; never fewer nodes than the second entry, however many the sources.
MOST_UNKNOWNS = {1: (4_000, 400), 2: (400_000, 12_000), 3: (400_000, 30_000)}
# Sources swept together: enough to share the cost of a NumPy call, few enough for the cache.
_BATCH = 8
# Newton starts from here; the first-order scheme itself is converged to rounding.
_ROUGH = 1e-5
# Orders below are not trusted to be seen: differences that do not shrink then count for more, not less.
_LOWEST_ORDER = 0.7
_ROUNDING = 1e-13
# Grids coarser than sampled data see another medium each, and their differences fall short of the error by up to this (measured on noise).
_UNRESOLVED = 3.0
# The factor of the error at an interface varies with the place of the grid; measured over 44 grids the bare estimate is 0.4 to 2 times the error.
_SCATTER = 1.25
# Times that miss a condition by more than this multiple of the error estimate contradict it.
_CONTRADICTION = 5.0
# Points inside a source region at which its condition is checked.
_PROBES = 64
# Neighbouring boundary times may differ by the slowness between them and the quadrature error of one step.
_STEEPEST = 1.02


@dataclass(frozen=True)
class Cone:
    """T0 = slowness |x - at| of one source, or 1 where nothing is factored off (`at` None); and the time at which the source starts."""

    at: tuple[float, ...] | None
    slowness: float
    start: float

    def time(self, tau: Array, points: Any) -> Array:
        """T = start + T0 tau."""
        if self.at is None:
            return np.asarray(tau)
        distance = np.sqrt(sum((p - c) ** 2 for p, c in zip(points, self.at, strict=True)))
        return np.asarray(self.start + self.slowness * distance * tau)


@dataclass(frozen=True)
class TravelTimes(FieldOnGrid):
    """Travel times: `smooth` holds one factor tau per source, and T is the earliest of start + T0 tau.

    Splines interpolate tau, which has neither the cone at the source nor the kink between two sources.

    Attributes:
        cones: T0 of each source.
        groups: numbers of the sources of each shot.
    """

    cones: tuple[Cone, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()

    def by_source(self, *points: Array) -> Array:
        """Times of the waves of each source by itself, (n_sources, ...), at points inside the box."""
        stacked = np.stack(points, axis=-1)
        return np.stack([cone.time(spline(stacked), points) for cone, spline in zip(self.cones, self._splines, strict=True)])

    @property
    def _stack(self) -> Array:
        return self.smooth

    def _add_background(self, stack: Array, points: Any) -> Array:
        times = [cone.time(tau, points) for cone, tau in zip(self.cones, stack, strict=True)]
        shots = np.stack([np.minimum.reduce([times[number] for number in group]) for group in self.groups])
        return shots if self.shots is not None else np.asarray(shots[0])


@dataclass(frozen=True)
class _Level:
    """One grid of the ladder, solved."""

    field: TravelTimes
    grid: SweepingGrid
    rounds: int
    uncorrected: int
    short: float


class EikonalSweepingSolver(AbstractReferenceSolver):
    """Factored fast sweeping, first order, or corrected to second order by Newton on upwind stencils.

    Args:
        order: 1 or 2.
        tolerance: relative L2 error estimate at which the refinement stops.
        most_unknowns: nodes times sources of the finest grid; None for the default of the dimension, about 10 s.
        cells: cells along the longest side of the finest grid, instead of the ladder; for convergence studies.

    Raises:
        ReferenceSolverError: another order, or fewer than 12 cells.
    """

    name = "eikonal_sweeping"

    def __init__(self, *, order: int = 2, tolerance: float = 1e-5, most_unknowns: int | None = None, cells: int | None = None) -> None:
        if order not in (1, 2):
            raise ReferenceSolverError(f"the eikonal solver was given order={order}; its orders are 1 and 2")
        if cells is not None and cells < 2 * FEWEST_CELLS:
            raise ReferenceSolverError(f"the eikonal solver was given cells={cells}; expected {2 * FEWEST_CELLS} at least")
        self.order = order
        self._tolerance, self._most_unknowns, self._cells = tolerance, most_unknowns, cells

    def supports(self, problem: Problem) -> Support:
        """Whether the problem is one isotropic eikonal equation on a box with sources."""
        try:
            reading = read_eikonal(problem)
        except ReferenceSolverError as error:
            return Support(False, str(error))
        return Support(True, f"one eikonal equation on a box, {len(reading.coordinates)}-D")

    def solve(self, problem: Problem) -> GridSolution:
        """Solve on a ladder of grids until the error estimate meets the tolerance or the grid its largest size.

        Raises:
            ReferenceSolverError: not supported; a speed that is not positive; boundary times that no wave can have.
        """
        start = time.perf_counter()
        reading = read_eikonal(problem)
        components, groups = _distinct(reading)
        levels: list[_Level] = []
        estimate = np.inf
        for number, step in enumerate(self._steps(reading, len(components))):
            levels.append(_solve_on(reading, components, groups, _axes(reading, step, number), self.order))
            if len(levels) > 2:
                estimate, observed = _error_estimate([level.field for level in levels[-3:]], self.order, reading.jumps)
                resolved = max(levels[-1].grid.steps) <= reading.sample_spacing * (1 + 1e-9)
                estimate *= 1 if resolved else _UNRESOLVED
                estimate = with_unseen(estimate, problem, dict(zip(reading.coordinates, levels[-1].field.axes, strict=True)))
                if self._cells is None and estimate <= self._tolerance and resolved:
                    break
        finest = levels[-1]
        _check_reached(finest.field, components, groups, estimate, reading)
        field = finest.field
        return GridSolution(
            problem=problem.name,
            coordinates=reading.coordinates,
            axes=dict(zip(reading.coordinates, field.axes, strict=True)),
            values={field.name: field.values},
            error_estimate=estimate,
            seconds=time.perf_counter() - start,
            n_unknowns=finest.grid.size * len(components),
            solver=self.name,
            order=self.order,
            notes=_notes(reading, finest, observed, self.order),
            fields={field.name: field},
        )

    def _steps(self, reading: EikonalReading, n_components: int) -> list[float]:
        """Coarsest first; three at least, since the estimate needs as many."""
        longest = max(high - low for low, high in reading.bounds)
        if self._cells is not None:
            return [longest / self._cells * REFINEMENT**level for level in (2, 1, 0)]
        dimension = len(reading.bounds)
        most, fewest = MOST_UNKNOWNS[dimension]
        limit = self._most_unknowns or max(most, fewest * n_components)
        steps = [longest / FIRST_CELLS[dimension] / REFINEMENT**level for level in range(3)]
        while _size(reading, steps[-1], 2) * n_components > limit and steps[-1] * 2 * FEWEST_CELLS < longest:
            steps = [1.1 * step for step in steps]
        while _size(reading, steps[-1] / REFINEMENT, len(steps)) * n_components <= limit:
            steps.append(steps[-1] / REFINEMENT)
        return steps


def _axes(reading: EikonalReading, step: float, level: int) -> tuple[Nodes, ...]:
    """Nodes per axis; the short sides of a thin box are refined from level to level as well, else their error would not show."""
    fewest = round(FEWEST_CELLS * REFINEMENT**level)
    return tuple(np.linspace(low, high, max(int(np.ceil((high - low) / step - 1e-9)), fewest) + 1) for low, high in reading.bounds)


def _size(reading: EikonalReading, step: float, level: int) -> int:
    return int(np.prod([len(axis) for axis in _axes(reading, step, level)]))


def _distinct(reading: EikonalReading) -> tuple[list[WaveSource], tuple[tuple[int, ...], ...]]:
    """Sources without repetition, and their numbers by shot."""
    components = list(dict.fromkeys(source for sources in reading.sources for source in sources))
    return components, tuple(tuple(components.index(source) for source in dict.fromkeys(sources)) for sources in reading.sources)


def _solve_on(
    reading: EikonalReading, components: list[WaveSource], groups: tuple[tuple[int, ...], ...], axes: tuple[Nodes, ...], order: int
) -> _Level:
    grid = SweepingGrid(axes)
    check_slowness(reading, grid.points())
    function = reading.slowness()
    # A node beside an interface stands for its whole cell.
    slowness = np.array(cell_average(function, axes, grid.steps) if reading.jumps else function(*grid.points()))
    starts = [_start(reading, grid, source, slowness, function) for source in components]
    factors: list[Nodes] = []
    rounds, uncorrected, short = 0, 0, 0.0
    for first in range(0, len(starts), _BATCH):
        batch = starts[first : first + _BATCH]
        taus, used = sweep(grid, slowness, batch, tolerance=_ROUGH if order == 2 else 0.0)
        rounds = max(rounds, used)
        for start, tau in zip(batch, taus, strict=True):
            corrected = second_order(grid, slowness, start, tau) if order == 2 else None
            if order == 2 and corrected is None:
                uncorrected += 1
                tau = sweep(grid, slowness, [start])[0][0]
            factors.append(corrected[0] if corrected else tau)
            short = max(short, corrected[1]) if corrected else short
    name = declaration_of(reading.problem.fields[0]).name
    # Where the speed jumps the times have kinks throughout: no spline of higher degree follows them.
    degree = 1 if reading.jumps else 3
    nothing = (None,) * len(groups)
    cones = tuple(_cone(source, function) for source in components)
    field = TravelTimes(name, axes, np.stack(factors), nothing, reading.shots, reading.coordinates, degree, cones=cones, groups=groups)
    return _Level(field, grid, rounds, uncorrected, short)


def _cone(source: WaveSource, slowness: Callable[..., Array]) -> Cone:
    if isinstance(source, PointSource):
        return Cone(source.at, float(slowness(*[np.asarray(c) for c in source.at])), source.time)
    return Cone(None, 1.0, 0.0)


def _start(reading: EikonalReading, grid: SweepingGrid, source: WaveSource, slowness: Nodes, function: Callable[..., Array]) -> Start:
    if isinstance(source, PointSource):
        return point_start(grid, source.at, function)
    if isinstance(source, RegionSource):
        columns = [reading.problem.domain.coordinates.index(c) for c in reading.coordinates]
        return region_start(grid, source.region, source.time, function, columns)
    return _face_start(reading, grid, source, slowness)


def _face_start(reading: EikonalReading, grid: SweepingGrid, source: FaceSource, slowness: Nodes) -> Start:
    """Pinned values on a face.

    Raises:
        ReferenceSolverError: times that change faster along the face than the wave itself would carry them.
    """
    values = np.array(evaluator(source.value, reading.coordinates)(*grid.points()), dtype=float)
    pinned = np.zeros(grid.shape, dtype=bool)
    face = [slice(None)] * len(grid.axes)
    face[source.axis] = slice(0, 1) if source.side < 0 else slice(-1, None)
    pinned[tuple(face)] = True
    for axis, step in enumerate(grid.steps):
        if axis == source.axis:
            continue
        on_face, s = values[tuple(face)], slowness[tuple(face)]
        rise = np.abs(np.diff(on_face, axis=axis))
        allowed = _STEEPEST * step * np.maximum(np.take(s, range(1, s.shape[axis]), axis), np.take(s, range(s.shape[axis] - 1), axis))
        if np.any(rise > allowed):
            worst = float(np.max(rise / allowed)) * _STEEPEST
            raise ReferenceSolverError(
                f"`{reading.problem.name}` prescribes `{source.value}` on a face; along `{reading.coordinates[axis]}` it rises {worst:.3g} times as "
                "fast as |grad T| allows: no wave arrives at such times"
            )
    return plain_start(grid, np.where(pinned, values, 0.0), pinned)


def _error_estimate(fields: list[TravelTimes], order: int, jumps: bool) -> tuple[float, float]:
    """Relative L2 error of the last of three fields, and the order that their distances show.

    Where the slowness jumps the error is of first order with a factor that depends on how the grid happens to meet the interface: the distance
    of the outer two, whose steps differ most, scatters least. Elsewhere the distance of the finer two, averaged with what the coarser two predict
    for it, is divided by r^p - 1. Three grids so close to one another show p with an uncertainty of about one; so p is half way between what they
    show and the order of the scheme, which is within a factor 2.2 of the truth for every p between `_LOWEST_ORDER` and that order.
    """
    before, last = (_distance(coarse, fine) for coarse, fine in pairwise(fields))
    first, second = (_ratio(coarse, fine) for coarse, fine in pairwise(fields))
    observed = _observed_order(before, last, first, second)
    if jumps:
        return max(_ROUNDING, _SCATTER * _distance(fields[0], fields[2]) / (first * second - 1)), observed
    trusted = (float(np.clip(observed, _LOWEST_ORDER, order)) + order) / 2
    predicted = before * (second**trusted - 1) / (second**trusted * (first**trusted - 1))
    return max(_ROUNDING, float(np.hypot(last, predicted) / np.sqrt(2) / (second**trusted - 1))), observed


def _observed_order(before: float, last: float, first: float, second: float) -> float:
    """p in [0, 4] of errors c h^p, from their differences over two refinements by the ratios `first` and `second`."""

    def excess(p: float) -> float:
        return float(last * second**p * (first**p - 1) - before * (second**p - 1))

    # p = 0 is a root of every case: the search starts above it.
    low, high = 0.01, 4.0
    if excess(low) >= 0:
        return 0.0
    return float(brentq(excess, low, high)) if excess(high) > 0 else high


def _ratio(coarse: TravelTimes, fine: TravelTimes) -> float:
    """Ratio of the steps, the geometric mean over the axes; cells come in whole numbers."""
    return float(np.exp(np.mean([np.log((len(f) - 1) / (len(c) - 1)) for f, c in zip(fine.axes, coarse.axes, strict=True)])))


def _distance(coarse: TravelTimes, fine: TravelTimes) -> float:
    points = np.meshgrid(*coarse.axes, indexing="ij")
    values = coarse.values
    weights = np.ones(points[0].shape)
    for axis, nodes in enumerate(coarse.axes):
        ends = np.ones(len(nodes))
        ends[[0, -1]] = 0.5
        weights = weights * np.expand_dims(ends, [k for k in range(len(coarse.axes)) if k != axis])
    size = np.sqrt(np.sum(weights * values**2))
    return float(np.sqrt(np.sum(weights * (values - fine(*points)) ** 2)) / max(size, 1e-300))


def _check_reached(
    field: TravelTimes, components: list[WaveSource], groups: tuple[tuple[int, ...], ...], estimate: float, reading: EikonalReading
) -> None:
    """Refuse sources that start later than the wave of another source arrives: their condition cannot hold."""
    for number, source in enumerate(components):
        if all(len(group) == 1 for group in groups if number in group):
            continue
        points = _places(field, source, reading)
        times = field.by_source(*points)
        wanted = np.full(times.shape[1:], source.time) if isinstance(source, PointSource) else times[number]
        for group in groups:
            found = np.min(times[list(group)], axis=0)
            late = wanted - found
            if number in group and np.any(late > _CONTRADICTION * estimate * np.max(np.abs(field.values))):
                worst = int(np.argmax(late))
                place = ", ".join(f"{c} = {np.ravel(p)[worst]:.4g}" for c, p in zip(reading.coordinates, points, strict=True))
                raise ReferenceSolverError(
                    f"`{reading.problem.name}` wants T = {np.ravel(wanted)[worst]:.4g} at {place}; the wave of another source arrives there at "
                    f"{np.ravel(found)[worst]:.4g} already: drop one of the two conditions"
                )


def _places(field: TravelTimes, source: WaveSource, reading: EikonalReading) -> list[Array]:
    """Points at which the condition of a source is checked."""
    if isinstance(source, PointSource):
        return [np.array([at]) for at in source.at]
    if isinstance(source, RegionSource):
        order = [reading.problem.domain.coordinates.index(c) for c in reading.coordinates]
        return list(source.region.sample_interior(_PROBES, seed=1)[:, order].T)
    axes = list(field.axes)
    axes[source.axis] = axes[source.axis][[0 if source.side < 0 else -1]]
    return [points.ravel() for points in np.meshgrid(*axes, indexing="ij")]


def _notes(reading: EikonalReading, level: _Level, observed: float, order: int) -> tuple[str, ...]:
    cells = ", ".join(f"{c}: {len(axis) - 1}" for c, axis in zip(reading.coordinates, level.field.axes, strict=True))
    notes = [f"cells: {cells}", f"{level.rounds} rounds of sweeps", f"observed order {observed:.1f}"]
    if len(level.field.cones) > 1:
        notes.append(f"{len(level.field.cones)} sources solved one by one; T is the earliest arrival")
    if level.uncorrected:
        notes.append(f"{level.uncorrected} sources stay first order: Newton did not settle")
    elif order == 2:
        notes.append(f"{100 * level.short:.1f} % of the differences are of first order, beside sources, faces, kinks")
    if reading.jumps:
        notes.append("the slowness jumps: averaged over cells")
    if max(level.grid.steps) > reading.sample_spacing * (1 + 1e-9):
        notes.append(f"the grid is coarser than the samples of the slowness, {reading.sample_spacing:.3g} apart: the estimate is tripled")
    return tuple(notes)
