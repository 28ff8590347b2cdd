"""A time-dependent problem on a box: what the declaration says, and the ordinary differential equations that one grid leaves.

Input: a `Problem`, a grid. Output: `EvolutionReading`, `EvolutionSystem`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Box, InitialCondition, Problem, SpaceTime, select_shot
from pinnsiren.language.symbols import declaration_of

from ..evaluation import evaluator, may_jump
from ..factorisation import nested_dissection
from .field_faces import FieldFaces, field_faces, periodic_axes
from .jet_evaluation import GridExpressions, real_part
from .jets import Jet, JetSymbols, LoweredEquations, lower_equations, time_orders
from .marching import March, growing_instants, march_explicit, march_stiff, spectral_radius
from .tensor_operators import Line, TensorGrid
from .walls import Walls

Array = NDArray[Any]

_CELLS_PER_INSTANT = 1.5
# Spectral radius times the length of time up to which diffusion in the plane is integrated explicitly: about 800 steps of order 8.
LARGEST_EXPLICIT = 5000.0


@dataclass(frozen=True)
class EvolutionReading:
    """The declaration, solved for the highest time derivatives; one entry of `equations` and `rates` per shot."""

    problem: Problem
    symbols: JetSymbols
    equations: tuple[LoweredEquations, ...]
    rates: tuple[tuple[Any, ...], ...]
    faces: tuple[FieldFaces, ...]
    initial: dict[tuple[int, int], Any]
    speed: float
    jumps: bool

    @property
    def span(self) -> tuple[float, float]:
        """First and last instant."""
        low, high = self.problem.domain.bounds[self.symbols.time]
        return float(low), float(high)

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Limits of the box."""
        return [self.problem.domain.bounds[s] for s in self.symbols.space]

    @property
    def is_wave(self) -> bool:
        """Second order in time without a diffusive term in u_t: not stiff beyond the step that waves need anyway."""
        if any(order != 2 for order in self.symbols.time_orders):
            return False
        jets = self.symbols.jets.values()
        return not any(sum(jet.index) > 1 and self.symbols.components[jet.component].time_order == 1 for jet in jets)

    def free_faces(self) -> frozenset[tuple[int, int]]:
        """Faces behind which the grid is extended."""
        return frozenset().union(*(f.free for f in self.faces)) if self.is_wave else frozenset()


def read_evolution(problem: Problem) -> EvolutionReading:
    """Read a declaration as an evolution of first or second order in time on a box.

    Raises:
        ReferenceSolverError: what this package's method of lines does not take, with the reason.
    """
    domain = problem.domain
    if not isinstance(domain, SpaceTime) or not isinstance(domain.space, Box):
        raise ReferenceSolverError(f"the domain {domain} is not the product of a box and a time interval")
    space = tuple(domain.space.coordinates)
    if len(space) > 3:
        raise ReferenceSolverError(f"`{problem.name}` has {len(space)} space coordinates; three are the most a grid can hold")
    orders = time_orders(problem, domain.time)
    for field, order in zip(problem.fields, orders, strict=True):
        if order not in (1, 2):
            times = f"{order} times in `{domain.time}`"
            raise ReferenceSolverError(f"`{field.func}` of `{problem.name}` is differentiated {times}; once or twice is supported")
    symbols = JetSymbols(problem, space, domain.time, orders)
    shots = declaration_of(problem.fields[0]).shots or 1
    equations = tuple(lower_equations(symbols, shot) for shot in range(shots))
    rates = tuple(_solved_for_rates(lowered) for lowered in equations)
    faces = tuple(field_faces(problem, domain.space, number) for number in range(len(problem.fields)))
    periodic_axes(problem, faces)
    reading = EvolutionReading(problem, symbols, equations, rates, faces, _initial_data(problem, domain.time, orders), 0.0, _jumps(equations))
    _check_faces(reading)
    return _with_speed(reading) if reading.free_faces() else reading


def _jumps(equations: Sequence[LoweredEquations]) -> bool:
    return any(may_jump(e) for lowered in equations for e in (*lowered.residuals, *(flux.component for flux in lowered.fluxes)))


def _solved_for_rates(lowered: LoweredEquations) -> tuple[Any, ...]:
    """The highest time derivatives as expressions of the rest."""
    name, rates = lowered.symbols.problem.name, lowered.symbols.rates
    if any(flux.component.has(*rates) for flux in lowered.fluxes):
        raise ReferenceSolverError(f"a flux of `{name}` holds a time derivative")
    mass = sp.Matrix([[sp.diff(e, rate) for rate in rates] for e in lowered.residuals])
    if mass.has(*rates) or mass.has(sp.Derivative):
        raise ReferenceSolverError(f"`{name}` is not linear in its highest time derivatives; it cannot be solved for them")
    rest = sp.Matrix([e.xreplace(dict.fromkeys(rates, sp.Integer(0))) for e in lowered.residuals])
    if sp.expand(mass.det()) == 0:
        raise ReferenceSolverError(f"`{name}` does not determine every time derivative; constraints between fields are not supported")
    if mass.is_diagonal():
        return tuple(-rest[i] / mass[i, i] for i in range(len(rates)))
    return tuple(-e for e in mass.LUsolve(rest))


def _initial_data(problem: Problem, t: Any, orders: Sequence[int]) -> dict[tuple[int, int], Any]:
    """Initial values by field and order of the time derivative."""
    found: dict[tuple[int, int], Any] = {}
    for condition in problem.conditions:
        if isinstance(condition, InitialCondition):
            for number, field in enumerate(problem.fields):
                for level in range(orders[number]):
                    if sp.sympify(condition.expression).doit() == (field.diff(t) if level else field):
                        found[number, level] = sp.sympify(condition.value)
    for number, field in enumerate(problem.fields):
        for level in range(orders[number]):
            if (number, level) not in found:
                missing = "time derivative" if level else "value"
                raise ReferenceSolverError(f"`{problem.name}` gives no initial {missing} of `{field.func}`")
    return found


def _check_faces(reading: EvolutionReading) -> None:
    problem, space, t = reading.problem, reading.symbols.space, reading.symbols.time
    for number, faces in enumerate(reading.faces):
        field = problem.fields[number]
        orders = reading.equations[0].orders(number)
        for axis, order in enumerate(orders):
            if order > 2 and axis not in faces.periodic:
                raise ReferenceSolverError(
                    f"`{problem.name}` holds a derivative of order {order} along `{space[axis]}`; between walls two is the highest supported"
                )
        for row in faces.rows:
            if any(sp.sympify(e).has(*problem.fields) for e in (row.a, row.b, row.value)):
                raise ReferenceSolverError(f"a wall condition on `{field.func}` of `{problem.name}` is not linear in one field")
            if any(sp.sympify(e).has(t) or sp.sympify(e).has(sp.I) for e in (row.a, row.b)):
                raise ReferenceSolverError(f"a Robin coefficient on `{field.func}` of `{problem.name}` depends on the time `{t}` or is complex")
        second = [face for face in faces.free if orders[face[0]] == 2]
        if second and not reading.is_wave:
            raise ReferenceSolverError(f"`{field.func}` of `{problem.name}` diffuses into free space; give every face a condition")


def _with_speed(reading: EvolutionReading) -> EvolutionReading:
    """The largest wave speed at the initial state, which says how far free space must reach."""
    symbols, grid = reading.symbols, evolution_grid(reading, 40.0, 2)
    lines = EvolutionSystem(reading, grid, 0)
    _, components = lines.components(reading.span[0], lines.start())
    fastest = 0.0
    for number in range(len(reading.problem.fields)):
        position = next(i for i, c in enumerate(symbols.components) if c.field == number and c.time_order == 0)
        for axis in range(len(symbols.space)):
            mark = symbols.symbol(Jet(position, tuple(2 * (i == axis) for i in range(len(symbols.space)))))
            squared = sp.diff(reading.rates[0][number], mark)
            if squared != 0:
                values = GridExpressions([squared], reading.equations[0].fluxes, symbols, grid).values(components, reading.span[0])[0]
                fastest = max(fastest, float(np.sqrt(np.max(np.abs(values)))))
    if fastest == 0 or any(lowered.fluxes for lowered in reading.equations):
        lacking = "a face without a condition, and a wave speed that cannot be read"
        raise ReferenceSolverError(f"`{reading.problem.name}` has {lacking}; give the face a condition")
    return replace(reading, speed=fastest)


def evolution_grid(reading: EvolutionReading, cells: float, order: int) -> TensorGrid:
    """The grid with this many cells along the longest side of the declared box, extended behind free faces by what waves travel."""
    bounds = reading.bounds
    longest = max(high - low for low, high in bounds)
    free, reach = reading.free_faces(), reading.speed * (reading.span[1] - reading.span[0])
    lines = []
    for axis, (low, high) in enumerate(bounds):
        count = max(int(np.ceil(cells * (high - low) / longest - 1e-9)), 2 * order)
        extra = {side: int(np.ceil(1.05 * reach * count / (high - low))) + 4 if (axis, side) in free else 0 for side in (-1, 1)}
        lines.append(Line(low, high, count, order, axis in reading.faces[0].periodic, extra[-1], extra[1]))
    return TensorGrid(tuple(lines))


class EvolutionSystem:
    """The ordinary differential equations of one grid and shot; the state holds the inner nodes of every component.

    Attributes:
        stiffness: length of time times spectral radius, once marched; 0 for waves, infinite where it does not matter.
    """

    def __init__(self, reading: EvolutionReading, grid: TensorGrid, shot: int, compiled: Any = None) -> None:
        self.reading, self.grid, self._shot = reading, grid, shot
        self.stiffness = 0.0 if reading.is_wave else np.inf
        symbols = reading.symbols
        self._expressions = GridExpressions(reading.rates[shot], reading.equations[shot].fluxes, symbols, grid, compiled)
        self.compiled = self._expressions.compiled
        self._walls = [Walls(faces.rows, grid, symbols.symbols, shot) for faces in reading.faces]
        counts = [len(self._walls[c.field].inner) for c in symbols.components]
        self._ends = np.cumsum([0, *counts])

    def start(self) -> Array:
        """The initial state."""
        symbols, points = self.reading.symbols, self.grid.points()
        clipped = [np.clip(p, line.low, line.high) for p, line in zip(points, self.grid.lines, strict=True)]
        parts = []
        for component in symbols.components:
            evaluate = evaluator(select_shot(self.reading.initial[component.field, component.time_order], self._shot), symbols.space)
            values = np.asarray(evaluate(*points))
            if not np.all(np.isfinite(values)):
                # Beyond the declared box an expression may have no value.
                values = np.where(np.isfinite(values), values, evaluate(*clipped))
            parts.append(real_part(values[self._walls[component.field].inner], component.factor, self.reading.symbols))
        return np.concatenate(parts)

    def components(self, instant: float, state: Array) -> tuple[list[Array], list[Array]]:
        """Per component, the inner values and the values on all nodes."""
        inner = [state[low:high] for low, high in zip(self._ends[:-1], self._ends[1:], strict=True)]
        lifted: dict[tuple[int, int], Array] = {}
        whole = []
        for component, values in zip(self.reading.symbols.components, inner, strict=True):
            walls, key = self._walls[component.field], (component.field, component.time_order)
            if key not in lifted:
                lifted[key] = walls.lifted_slope(instant) if component.time_order else walls.lifted(instant)
            whole.append(walls.expansion @ values + real_part(lifted[key], component.factor, self.reading.symbols))
        return inner, whole

    def rate(self, instant: float, state: Array) -> Array:
        """Time derivative of the state."""
        inner, whole = self.components(instant, state)
        highest = self._expressions.values(whole, instant)
        parts = []
        for position, component in enumerate(self.reading.symbols.components):
            above = self._above(position)
            if above is not None:
                parts.append(inner[above])
            else:
                parts.append(real_part(highest[component.field][self._walls[component.field].inner], component.factor, self.reading.symbols))
        return np.concatenate(parts)

    def jacobian(self, instant: float, state: Array) -> sparse.csc_matrix:
        """Derivative of the rate by the state."""
        _, whole = self.components(instant, state)
        tables = self._expressions.jacobians(whole, instant)
        components = self.reading.symbols.components
        blocks: list[list[Any]] = []
        for position, component in enumerate(components):
            rows = self._walls[component.field].inner
            line: list[Any] = [None] * len(components)
            above = self._above(position)
            if above is not None:
                line[above] = sparse.identity(len(rows))
            else:
                for other, block in tables[component.field].items():
                    chosen = real_part(block[rows], component.factor, self.reading.symbols)
                    line[other] = chosen @ self._walls[components[other].field].expansion
            line[position] = sparse.csr_matrix((len(rows), len(rows))) if line[position] is None else line[position]
            blocks.append(line)
        return sparse.csc_matrix(sparse.bmat(blocks, format="csc"))

    def march(self, rtol: float) -> March:
        """Integrate over the declared time."""
        reading, name = self.reading, self.reading.problem.name
        if not reading.is_wave:
            return self._march_diffusion(rtol)
        begin, end = reading.span
        count = max(int(np.ceil((end - begin) * max(reading.speed, 1e-12) / min(line.h for line in self.grid.lines) / _CELLS_PER_INSTANT)), 24)
        if reading.speed == 0:
            count = max(count, max(line.cells for line in self.grid.lines))
        return march_explicit(name, self.rate, self.start(), np.linspace(begin, end, count + 1), rtol)

    def _march_diffusion(self, rtol: float) -> March:
        reading, start = self.reading, self.start()
        if len(self.grid.lines) == 1:
            return march_stiff(reading.problem.name, self.rate, self.jacobian, start, reading.span, rtol)
        begin, end = reading.span
        # In the plane a factorisation costs as much as hundreds of rates.
        self.stiffness = spectral_radius(self.jacobian(begin, start)) * (end - begin)
        if self.stiffness < LARGEST_EXPLICIT:
            count = max(48, max(line.cells for line in self.grid.lines))
            return march_explicit(reading.problem.name, self.rate, start, growing_instants(reading.span, count), rtol)
        return march_stiff(reading.problem.name, self.rate, self.jacobian, start, reading.span, rtol, self._elimination())

    def _elimination(self) -> Array:
        """The unknowns in the order of nested dissection of the grid, those of one node side by side."""
        order = nested_dissection(self.grid.shape, self.grid.lines[0].order - 1, self.reading.faces[0].periodic)
        rank = np.empty(self.grid.size, dtype=np.int64)
        rank[order] = np.arange(self.grid.size)
        return np.argsort(np.concatenate([rank[self._walls[c.field].inner] for c in self.reading.symbols.components]), kind="stable")

    def _above(self, position: int) -> int | None:
        """The component that is the time derivative of this one, if it is part of the state."""
        here = self.reading.symbols.components[position]
        for other, component in enumerate(self.reading.symbols.components):
            if (component.field, component.factor) == (here.field, here.factor) and component.time_order == here.time_order + 1:
                return other
        return None
