"""Reference solver for one linear evolution equation on a box: waves and diffusion, method of lines.

    alpha u_tt + beta u_t + L u = f(x, t),     L of second order in space, coefficients independent of time

in 1-D and 2-D with Dirichlet, Neumann and Robin walls or periodic faces. In space, differences of order 4 with one-sided closures: they keep the
spectrum of the wave operator real at both kinds of wall (checked in the tests; closures of order 6 do not, and grow). In time, for waves, the
explicit Runge-Kutta method of order 8 with step control; for diffusion, Radau of order 5.

Free space (a layer, or a face without condition) is exact: the grid is extended so far that nothing returns in the time declared.

The error estimate compares the three finest grids at instants spread by the golden ratio: errors of standing waves vanish together at evenly spaced
ones (see `observed_order`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as sparse_linalg
import sympy as sp
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.interpolate import make_interp_spline

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Box, InitialCondition, Problem, SpaceTime, select_shot
from pinnsiren.language.symbols import declaration_of

from .assembly import FaceRow, Grid, boundary_rows, boundary_scale, node_values, operator_matrix
from .box_reading import jumps_between_joined_faces
from .coefficients import FluxTerm, LinearForm, linear_form
from .declaration import BoxConditions, box_conditions
from .evaluation import evaluator, may_jump
from .layer import Axis
from .nonlinear.marching import march_stiff
from .observed_order import estimate_by_observed_order
from .protocol import AbstractReferenceSolver, FieldOnGrid, GridSolution, Support
from .resolution import with_unseen

Array = NDArray[Any]

ORDER = 4
REFINEMENT = 1.4
# Points in space and time together that take about 20 s on one core.
MOST_POINTS = {1: 3_000_000, 2: 24_000_000}
FIRST_CELLS = 34
# Far below the error in space.
_TIME_TOLERANCE = 1e-7
# Stored instants per time that a wave needs to cross a cell: 2/3.
_CELLS_PER_INSTANT = 1.5
# Of the instants that the coarser grid stores: at most these many, fewer where they would make more points than the second number.
_COMPARED_INSTANTS = 60
_COMPARED_POINTS = 400_000
_GOLDEN = 0.5 * (np.sqrt(5) - 1)
# Waves may oscillate faster than they cross cells (mass terms, sources): instants are doubled until what lies between them is known to this share of
# the tolerance. Half as many instants make a spline of order 6 worse by 64 inside, by less at the ends; no gain is granted where it sees nothing.
_BETWEEN_INSTANTS = 0.02
_MOST_DOUBLINGS = 5
_HALVING_GAIN, _UNRESOLVED = 32.0, 0.1
_NODES_IN_TIME = 300


@dataclass(frozen=True)
class _Reading:
    """Spatial form, time coefficients and data."""

    problem: Problem
    space: LinearForm
    time: Any
    span: tuple[float, float]
    alpha: Any
    beta: Any
    conditions: BoxConditions
    initial: tuple[Any, Any]
    speed: float
    jumps: bool

    @property
    def coordinates(self) -> tuple[Any, ...]:
        """Of the field, time included, in its order."""
        return tuple(self.problem.fields[0].args)

    @property
    def is_wave(self) -> bool:
        """Second order in time."""
        return bool(self.alpha != 0)


class EvolutionBoxSolver(AbstractReferenceSolver):
    """Method of lines for linear waves and diffusion.

    Args:
        tolerance: relative L2 error estimate at which the refinement stops.
        cells: cells of the longest side on the finest grid, instead of the ladder; for convergence studies.
    """

    name = "evolution_box"
    order = ORDER

    def __init__(self, *, tolerance: float = 1e-4, cells: int | None = None) -> None:
        self._tolerance, self._cells = tolerance, cells

    def supports(self, problem: Problem) -> Support:
        """Whether the problem is one linear evolution equation on a box."""
        try:
            reading = _read(problem)
        except ReferenceSolverError as error:
            return Support(False, str(error))
        kind = "wave" if reading.is_wave else "diffusion"
        return Support(True, f"one linear {kind} equation on a box, {len(reading.space.coordinates)}-D")

    def solve(self, problem: Problem) -> GridSolution:
        """Integrate on a ladder of grids until the error estimate meets the tolerance or the budget is spent.

        Raises:
            ReferenceSolverError: not supported, or the integration blew up.
        """
        start = time.perf_counter()
        reading = _read(problem)
        longest = max(high - low for low, high in reading.conditions.bounds)
        # Three grids show the order; closures need ten cells at least.
        levels = 3 if self._cells is None or self._cells >= 10 * REFINEMENT**2 else 2
        cells = float(FIRST_CELLS if self._cells is None else self._cells / REFINEMENT ** (levels - 1))
        coarse, size, between = _integrate(reading, longest / cells, self._tolerance)
        estimate, differences = np.inf, []
        while True:
            cells *= REFINEMENT
            fine, size, between = _integrate(reading, longest / cells, self._tolerance)
            difference, ratio = _relative_difference(coarse, fine, reading)
            differences.append(difference)
            estimate = estimate_by_observed_order(differences, ratio, ORDER, reading.jumps)
            estimate = with_unseen(float(np.hypot(estimate, between)), problem, dict(zip(reading.coordinates, fine.axes, strict=True)))
            cost = np.prod([len(axis) for axis in fine.axes]) * REFINEMENT ** len(fine.axes)
            last = self._cells is not None or estimate <= self._tolerance or cost > MOST_POINTS[len(fine.axes) - 1]
            if last and len(differences) >= levels - 1:
                break
            coarse = fine
        notes = [f"{len(axis)} points along {symbol}" for symbol, axis in zip(reading.coordinates, fine.axes, strict=True)]
        if reading.conditions.layers or reading.conditions.free:
            notes.append("free space: grid extended, nothing returns in the time declared")
        if reading.conditions.joined:
            names = ", ".join(str(reading.space.coordinates[axis]) for axis in sorted(reading.conditions.joined))
            notes.append(f"periodic along {names}: wrapped stencils")
        return GridSolution(
            problem=problem.name,
            coordinates=reading.coordinates,
            axes=dict(zip(reading.coordinates, fine.axes, strict=True)),
            values={fine.name: fine.values},
            error_estimate=estimate,
            seconds=time.perf_counter() - start,
            n_unknowns=size,
            solver=self.name,
            order=ORDER,
            notes=tuple(notes),
            fields={fine.name: fine},
        )


def _read(problem: Problem) -> _Reading:
    domain = problem.domain
    if not isinstance(domain, SpaceTime) or not isinstance(domain.space, Box):
        raise ReferenceSolverError(f"the domain {domain} is not the product of a box and a time interval")
    form = linear_form(problem)
    t = domain.time
    if set(form.coordinates) != set(domain.coordinates) or len(form.coordinates) > 3:
        raise ReferenceSolverError(f"the field depends on {form.coordinates}, the domain on {domain.coordinates}; expected the same, three at most")
    place = form.coordinates.index(t)
    in_space, alpha, beta = _separate_time(form, place, problem.name)
    if any(sp.sympify(e).has(t) for e in (alpha, beta, *in_space.expressions())):
        raise ReferenceSolverError(f"a coefficient of `{problem.name}` depends on the time `{t}`")
    conditions = box_conditions(problem, domain.space, in_space.coordinates)
    initial = _initial_data(problem, t, alpha != 0)
    for row in conditions.rows:
        if any(sp.sympify(e).has(t) for e in (row.a, row.b)):
            raise ReferenceSolverError(f"a Robin coefficient of `{problem.name}` depends on the time `{t}`")
    begin, end = domain.time_bounds
    # Some instant at which a source is unlikely to vanish.
    frozen = [sp.sympify(e).subs(t, begin + 0.3719 * (end - begin)) for e in in_space.source]
    data = (*in_space.expressions(), *initial, alpha, beta, *frozen)
    jumps = any(may_jump(e) for e in (*in_space.expressions(), *in_space.source, alpha, beta))
    jumps = jumps or jumps_between_joined_faces(data, in_space.coordinates, conditions)
    for expression in (*in_space.source, *(select_shot(row.value, 0) for row in conditions.rows)):
        evaluator(expression, (*in_space.coordinates, t))
    speed = _speed(in_space, alpha if alpha != 0 else beta, conditions, problem.name, alpha != 0)
    if alpha == 0 and (conditions.free or conditions.layers):
        raise ReferenceSolverError(f"`{problem.name}` diffuses into free space; give every face a condition")
    return _Reading(problem, in_space, t, domain.time_bounds, alpha, beta, conditions, initial, speed, jumps)


def _separate_time(form: LinearForm, place: int, name: str) -> tuple[LinearForm, Any, Any]:
    """The spatial operator, and the coefficients of u_tt and u_t."""
    dimension = len(form.coordinates)

    def without(index: tuple[int, ...]) -> tuple[int, ...]:
        return index[:place] + index[place + 1 :]

    def shifted(axis: int | None) -> int | None:
        return axis if axis is None or axis < place else axis - 1

    derivatives, alpha, beta = {}, sp.Integer(0), sp.Integer(0)
    for index, coefficient in form.derivatives.items():
        if index[place] == 0:
            derivatives[without(index)] = coefficient
        elif sum(index) > index[place]:
            raise ReferenceSolverError(f"`{name}` mixes derivatives in time and space")
        elif index[place] == 2:
            alpha = coefficient
        else:
            beta = coefficient
    if alpha == 0 and beta == 0:
        raise ReferenceSolverError(f"`{name}` has no time derivative")
    fluxes = []
    for term in form.fluxes:
        if place in (term.along, term.towards):
            raise ReferenceSolverError(f"`{name}` has a flux along the time")
        fluxes.append(FluxTerm(term.outer, shifted(term.along) or 0, term.inner, shifted(term.towards)))
    assert dimension > 1
    return LinearForm(without(form.coordinates), tuple(fluxes), derivatives, form.source), alpha, beta


def _initial_data(problem: Problem, t: Any, is_wave: bool) -> tuple[Any, Any]:
    field = problem.fields[0]
    value, slope = None, None
    for condition in problem.conditions:
        if isinstance(condition, InitialCondition):
            if condition.expression == field:
                value = condition.value
            elif sp.sympify(condition.expression).doit() == field.diff(t):
                slope = condition.value
            else:
                raise ReferenceSolverError(
                    f"`{problem.name}` prescribes `{condition.expression}` initially; expected the field or its time derivative"
                )
    if value is None or (is_wave and slope is None):
        missing = "value" if value is None else "time derivative"
        raise ReferenceSolverError(f"`{problem.name}` gives no initial {missing}")
    return value, slope if slope is not None else sp.Integer(0)


def _speed(form: LinearForm, time_coefficient: Any, conditions: BoxConditions, name: str, is_wave: bool) -> float:
    """Largest wave speed (or square root of the diffusivity), with the signs that make the problem well posed."""
    points = np.meshgrid(*[np.linspace(low, high, 41) for low, high in conditions.bounds], indexing="ij")
    denominator = evaluator(time_coefficient, form.coordinates)(*points)
    fastest = 0.0
    for axis, symbol in enumerate(form.coordinates):
        index = tuple(2 * (i == axis) for i in range(len(form.coordinates)))
        total = evaluator(form.coefficient(*index), form.coordinates)(*points).astype(complex)
        for term in form.fluxes:
            if term.along == axis and term.towards == axis:
                total = total + evaluator(term.outer * term.inner, form.coordinates)(*points)
        ratio = -total / denominator
        if not np.all(np.isfinite(ratio)) or np.any(ratio.real <= 0) or (is_wave and np.any(np.abs(ratio.imag) > 1e-12 * np.abs(ratio))):
            kind = "waves of real speed" if is_wave else "diffusion forwards in time"
            raise ReferenceSolverError(f"the coefficients of `{name}` along `{symbol}` do not describe {kind}")
        fastest = max(fastest, float(np.sqrt(np.max(ratio.real))))
    return fastest


def _grid(reading: _Reading, step: float) -> tuple[Grid, list[FaceRow]]:
    axes, ends = [], []
    free = reading.conditions.free | reading.conditions.layers
    # Out and back takes longer than the declared time; a few cells more for the width of the stencils.
    reach = 0.5 * reading.speed * (reading.span[1] - reading.span[0])
    for axis, (low, high) in enumerate(reading.conditions.bounds):
        plain = Axis(low, high, max(int(np.ceil((high - low) / step - 1e-9)), 10))
        extra = {side: int(np.ceil(1.05 * reach / plain.h)) + 8 if (axis, side) in free else 0 for side in (-1, 1)}
        ends += [FaceRow(axis, side, sp.Integer(0), sp.Integer(1), sp.Integer(0)) for side in (-1, 1) if extra[side]]
        axes.append(replace(plain, before=extra[-1], behind=extra[1], joined=axis in reading.conditions.joined))
    return Grid(tuple(axes), ORDER), [*reading.conditions.rows, *ends]


@dataclass(frozen=True)
class _Lines:
    """u_i'' or u_i' = -K u_i + load(t) on the inner nodes; wall nodes follow as P g(t) - Q u_i."""

    stiffness: Any
    damping: Array
    load: Callable[[float], Array]
    complete: Callable[[float, Array], Array]
    inner: Array


def _lines(reading: _Reading, grid: Grid, faces: list[FaceRow], source: Any, shot: int) -> _Lines:
    form, t = reading.space, reading.time
    owner, rows = boundary_rows(faces, form.coordinates, grid)
    flat = owner.ravel()
    inner, wall = np.flatnonzero(flat == -2), np.flatnonzero(flat != -2)
    operator = operator_matrix(form, grid)[inner]
    time_factor = node_values(reading.alpha if reading.is_wave else reading.beta, form.coordinates, grid).ravel()[inner]
    scale = sparse.diags(1 / time_factor)
    expansion, factors = _wall_elimination(rows[wall][:, wall], rows[wall][:, inner])
    coupling = sparse.csr_matrix(scale @ operator[:, wall])
    stiffness = sparse.csr_matrix(scale @ operator[:, inner] - coupling @ expansion)
    force = _in_time(source, form, t, grid)
    walls = [(_in_time(select_shot(face.value, shot), form, t, grid), boundary_scale(face, grid), flat[wall] == n) for n, face in enumerate(faces)]
    moving = any(sp.sympify(face.value) != 0 for face in faces)

    reading_is_complex = bool(declaration_of(reading.problem.fields[0]).is_complex)

    def wall_values(instant: float) -> Array:
        data = np.zeros(len(wall), dtype=complex if reading_is_complex else float)
        for values, factor, owned in walls:
            data[owned] = factor * values(instant)[wall][owned]
        return np.asarray(factors.solve(data)) if factors is not None else data

    still = np.zeros(len(wall))

    def load(instant: float) -> Array:
        result = force(instant)[inner] / time_factor
        return result - coupling @ wall_values(instant) if moving else result

    def complete(instant: float, values: Array) -> Array:
        whole = np.empty(grid.size, dtype=values.dtype)
        whole[inner] = values
        whole[wall] = (wall_values(instant) if moving else still) - expansion @ values
        return whole.reshape(grid.shape)

    damping = node_values(reading.beta, form.coordinates, grid).ravel()[inner] / time_factor if reading.is_wave else np.zeros(1)
    return _Lines(stiffness, damping, load, complete, inner)


def _wall_elimination(among_walls: Any, to_inner: Any) -> tuple[sparse.csr_matrix, Any]:
    """W^-1 B and the factors of W, for wall nodes that obey W u_wall + B u_inner = g; (empty, None) without walls."""
    if not among_walls.shape[0]:
        return sparse.csr_matrix(to_inner.shape), None
    factors = sparse_linalg.splu(sparse.csc_matrix(among_walls))
    columns = sparse.csc_matrix(to_inner)
    active = np.flatnonzero(np.diff(columns.indptr))
    solved = factors.solve(columns[:, active].toarray())
    spread = sparse.csr_matrix((np.ones(len(active)), (np.arange(len(active)), active)), shape=(len(active), to_inner.shape[1]))
    return sparse.csr_matrix(sparse.csr_matrix(solved) @ spread), factors


def _in_time(expression: Any, form: LinearForm, t: Any, grid: Grid) -> Callable[[float], Array]:
    """Values on all nodes as a function of time, evaluated once when the expression does not depend on it."""
    if not sp.sympify(expression).has(t):
        constant = node_values(expression, form.coordinates, grid).ravel()
        return lambda instant: constant
    evaluate = evaluator(expression, (*form.coordinates, t))
    points = np.meshgrid(*[a.clipped(a.closed_nodes) for a in grid.axes], indexing="ij")
    return lambda instant: np.asarray(grid.fold(evaluate(*points, instant)).ravel())


def _integrate(reading: _Reading, step: float, tolerance: float) -> tuple[FieldOnGrid, int, float]:
    """Field, unknowns, and the relative error between the stored instants."""
    grid, faces = _grid(reading, step)
    begin, end = reading.span
    # Diffusion is stored like waves that cross the box once.
    crossing = max(a.cells for a in grid.axes)
    if reading.is_wave:
        crossing = int(np.ceil((end - begin) * reading.speed / min(a.h for a in grid.axes)))
    count = max(int(np.ceil(crossing / _CELLS_PER_INSTANT)), 24)
    declaration = declaration_of(reading.problem.fields[0])
    lines = [_lines(reading, grid, faces, source, shot) for shot, source in enumerate(reading.space.source)]
    for _ in range(_MOST_DOUBLINGS + 1):
        instants = np.linspace(begin, end, count + 1)
        marches = [_march(reading, grid, line, instants, shot, bool(declaration.is_complex)) for shot, line in enumerate(lines)]
        between = max(_between(own, values) for own, values in marches) if reading.is_wave else 0.0
        stored = 2 * count * grid.size * len(marches)
        if between <= _BETWEEN_INSTANTS * tolerance or stored > MOST_POINTS[len(reading.coordinates) - 1]:
            break
        count *= 2
    # Diffusion keeps the integrator's own steps; every shot is brought to those of the one that took most.
    instants = max((own for own, _ in marches), key=len)
    shots = [values if np.array_equal(own, instants) else make_interp_spline(own, values, k=5)(instants) for own, values in marches]
    place = reading.coordinates.index(reading.time)
    stack = np.stack([np.moveaxis(values, 0, place) for values in shots])
    axes = list(grid.inside_axes)
    axes.insert(place, instants)
    smooth = stack if declaration.shots is not None else stack[0]
    nothing: tuple[None, ...] = (None,) * len(stack)
    return FieldOnGrid(declaration.name, tuple(axes), smooth, nothing, declaration.shots, reading.coordinates), grid.size, between


def _between(instants: Array, values: Array) -> float:
    """Relative L2 error of a spline through all instants, from one through every other."""
    flat = values.reshape(len(instants), -1)
    flat = flat[:, :: max(flat.shape[1] // _NODES_IN_TIME, 1)]
    kept = instants[::2]
    left_out = instants[1 : 2 * len(kept) - 1 : 2]
    difference = make_interp_spline(kept, flat[::2], k=5)(left_out) - flat[1 : 2 * len(kept) - 1 : 2]
    halved = float(np.linalg.norm(difference) / max(float(np.linalg.norm(flat[1 : 2 * len(kept) - 1 : 2])), 1e-300))
    return halved if halved > _UNRESOLVED else halved / _HALVING_GAIN


def _march(reading: _Reading, grid: Grid, lines: _Lines, instants: Array, shot: int, is_complex: bool) -> tuple[Array, Array]:
    """Instants, and values inside the declared box at them, time first."""
    start = [node_values(select_shot(e, shot), reading.space.coordinates, grid).ravel()[lines.inner] for e in reading.initial]
    if any(np.iscomplexobj(part) for part in (*start, lines.load(float(instants[0])))) and not is_complex:
        raise ReferenceSolverError(f"`{reading.problem.name}` has complex data and a real field; declare it with complex=True")
    start = [part.astype(complex if is_complex else float) for part in start]
    if reading.is_wave:
        states = _waves(reading, lines, np.concatenate(start), instants)[:, : len(lines.inner)]
    else:
        instants, states = _diffusion(reading, lines, start[0], instants)
    inside = grid.inside
    return instants, np.stack([grid.unfold(lines.complete(float(s), state)[inside]) for s, state in zip(instants, states, strict=True)])


def _waves(reading: _Reading, lines: _Lines, state: Array, instants: Array) -> Array:
    """Values and rates at the instants, time first."""
    count = len(lines.inner)

    def rate(instant: float, y: Array) -> Array:
        u, v = y[:count], y[count:]
        return np.concatenate([v, lines.load(instant) - lines.stiffness @ u - lines.damping * v])

    size = max(float(np.max(np.abs(state), initial=0.0)), 1e-12)
    # Once a solution is smooth, steps grow; none may leap over what the source does between two instants.
    collected = solve_ivp(
        rate,
        (float(instants[0]), float(instants[-1])),
        state,
        method="DOP853",
        t_eval=instants,
        max_step=float(np.max(np.diff(instants))),
        rtol=_TIME_TOLERANCE,
        atol=_TIME_TOLERANCE * size,
    )
    if not collected.success or not np.all(np.isfinite(collected.y)):
        raise ReferenceSolverError(f"the time integration of `{reading.problem.name}` failed: {collected.message}")
    return np.asarray(collected.y.T)


def _diffusion(reading: _Reading, lines: _Lines, state: Array, instants: Array) -> tuple[Array, Array]:
    """Steps of the integrator and values at them: between its steps its order is three only, which shows where steps are long."""

    def rate(instant: float, y: Array) -> Array:
        return np.asarray(lines.load(instant) - lines.stiffness @ y)

    jacobian = sparse.csc_matrix(-lines.stiffness)
    span, longest = (float(instants[0]), float(instants[-1])), float(np.max(np.diff(instants)))
    march = march_stiff(
        reading.problem.name, rate, lambda _instant, _state: jacobian, state, span, _TIME_TOLERANCE, longest_step=longest, most_growth=np.inf
    )
    return march.instants, march.states


def _relative_difference(coarse: FieldOnGrid, fine: FieldOnGrid, reading: _Reading) -> tuple[float, float]:
    """Relative L2 difference on the coarse nodes at instants spread by the golden ratio, and the smallest ratio of the steps in space."""
    position = reading.coordinates.index(reading.time)
    place = position + (coarse.shots is not None)
    axes = list(coarse.axes)
    stored = len(axes[position])
    per_instant = max(coarse.smooth.size // stored, 1)
    count = int(np.clip(_COMPARED_POINTS // per_instant, 9, _COMPARED_INSTANTS))
    spread = np.mod(_GOLDEN * np.arange(1, count + 1), 1.0)
    chosen = np.unique(np.append((spread * stored).astype(int), stored - 1))
    axes[position] = axes[position][chosen]
    difference = np.take(coarse.smooth, chosen, axis=place) - fine(*np.meshgrid(*axes, indexing="ij"))
    size = np.linalg.norm(np.take(coarse.smooth, chosen, axis=place))
    ratios = [(len(f) - 1) / (len(c) - 1) for i, (f, c) in enumerate(zip(fine.axes, coarse.axes, strict=True)) if i != position]
    return float(np.linalg.norm(difference) / max(float(size), 1e-300)), float(min(ratios))
