"""One run of a declared wave on one grid: walls, layers, drives, stored instants.

Input: `DeclaredWave` and a `Scheme`. Output: the field on the nodes of the box at equidistant instants, one array per shot, time first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import select_shot

from ..assembly import FaceRow, Grid, node_values
from ..evaluation import evaluator
from ..layer import Axis
from .absorbing_layers import WAVELENGTHS, AbsorbingLayer, LayerDesign, design_layer
from .declared_wave import DeclaredWave
from .free_memory import check_memory
from .line_operators import LineOperator
from .stepping import Drive, TimeStepper, WaveOperator, largest_time_step

Array = NDArray[Any]

# Of the CFL limit: the limit itself is marginal.
_OF_LIMIT = 0.9
# Cells that a wave crosses from one stored instant to the next. Fewer at order 8: there quintic splines through the instants outweigh the nodes.
_CELLS_PER_INSTANT = {2: 1.5, 4: 1.5, 8: 0.75}
_FEWEST_INSTANTS = 64
FEWEST_CELLS = 20
# Field values kept over all instants and shots: 160 MB, as much again for splines. Beyond, every second node is kept.
MOST_STORED = 20_000_000


@dataclass(frozen=True)
class Scheme:
    """Step and orders.

    Attributes:
        step: of the grid, at most.
        order: in space.
        time_order: in time.
        mirrors: whether walls are images instead of closures.
        frequency: dominant frequency, for layers.
        layer_wavelengths: thickness of the layers; differs from grid to grid so that their reflection shows in the difference.
        of_limit: time step relative to the CFL limit.
    """

    step: float
    order: int
    time_order: int
    mirrors: bool
    frequency: float
    layer_wavelengths: float = WAVELENGTHS
    of_limit: float = _OF_LIMIT


class DeclaredRun:
    """The grid of one run.

    Args:
        wave: what was declared.
        scheme: step and orders.
    """

    def __init__(self, wave: DeclaredWave, scheme: Scheme) -> None:
        self.wave, self.scheme = wave, scheme
        self.axes, self.layers = self._axes()
        self.grid = Grid(self.axes, 4)
        ends = self._ends()
        self.lines = [LineOperator(a.n + 1, a.h, scheme.order, end) for a, end in zip(self.axes, ends, strict=True)]
        begin, end = wave.span
        limit = largest_time_step(wave.fastest, self.lines, scheme.time_order, layers=bool(self.layers))
        crossed = (end - begin) * wave.fastest / min(a.h for a in self.axes)
        stored = max(int(np.ceil(crossed / _CELLS_PER_INSTANT[scheme.order])), _FEWEST_INSTANTS)
        self.stride = max(int(np.ceil((end - begin) / (scheme.of_limit * limit) / stored)), 1)
        self.n_steps = self.stride * stored
        if self.stride == 1:
            self.n_steps = max(int(np.ceil((end - begin) / (scheme.of_limit * limit))), _FEWEST_INSTANTS)
        self.dt = (end - begin) / self.n_steps
        self.thinned = 1
        if len(wave.sources) * self.n_stored > MOST_STORED:
            self.thinned = 2

    @property
    def applications(self) -> int:
        """Differences of a whole field per shot."""
        return self.n_steps * self.scheme.time_order // 2

    @property
    def n_stored(self) -> int:
        """Numbers kept per shot."""
        return int(np.prod([a.cells // self.thinned + 1 for a in self.axes])) * (self.n_steps // self.stride + 1)

    @property
    def nodes(self) -> list[Array]:
        """Kept nodes of the box per space axis."""
        return [a.nodes[kept] for a, kept in zip(self.axes, self._kept, strict=True)]

    @property
    def _kept(self) -> tuple[slice, ...]:
        return tuple(slice(a.before, a.before + a.cells + 1, self.thinned) for a in self.axes)

    @property
    def instants(self) -> Array:
        """Stored instants."""
        begin, end = self.wave.span
        return np.linspace(begin, end, self.n_steps // self.stride + 1)

    def integrate(self) -> list[Array]:
        """March every shot; (n_instants, *nodes of the box) each.

        Raises:
            ReferenceSolverError: too little memory, or a field that is not finite.
        """
        shots = len(self.wave.sources)
        check_memory(8 * (6 * self.grid.size + 2 * shots * self.n_stored), 1, f"{shots} shots on {self.grid.size} nodes, {self.n_steps} steps,")
        slowness2 = node_values(self.wave.slowness2, self.wave.space, self.grid)
        squared_speed = np.ascontiguousarray(np.broadcast_to(1 / slowness2, self.grid.shape))
        layers = [
            AbsorbingLayer(
                self.lines[face[0]],
                design,
                face=face,
                speed=self.wave.fastest,
                dt=self.dt,
                shape=self.grid.shape,
                n_levels=self.scheme.time_order // 2,
                dtype=self._dtype,
            )
            for face, design in self.layers.items()
        ]
        operator = WaveOperator(squared_speed, self.lines, layers)
        return [self._march(TimeStepper(operator, self.dt, self.scheme.time_order, self._dtype), shot) for shot in range(shots)]

    def _march(self, stepper: TimeStepper, shot: int) -> Array:
        forcing = _Forcing(self, stepper.operator.squared_speed, shot)
        begin = self.wave.span[0]
        fields = []
        for derivative, expression in enumerate(self.wave.initial):
            given = node_values(select_shot(expression, shot), self.wave.space, self.grid)
            values: Array = np.array(np.broadcast_to(given, self.grid.shape), dtype=self._dtype)
            values[~self._in_box] = 0
            forcing.pin(values, derivative, begin)
            fields.append(values)
        inside = self._kept
        kept: Array = np.empty((self.n_steps // self.stride + 1, *(len(nodes) for nodes in self.nodes)), dtype=self._dtype)
        kept[0] = fields[0][inside]
        stepper.start(fields[0], fields[1], forcing.drive(begin, 0), forcing.drive(begin, 1))
        for step in range(1, self.n_steps + 1):
            instant = begin + step * self.dt
            forcing.pin(stepper.now, 0, instant)
            if step % self.stride == 0:
                kept[step // self.stride] = stepper.now[inside]
            if step < self.n_steps:
                stepper.advance(forcing.drive(instant, 0))
        if not np.all(np.isfinite(kept[-1])):
            raise ReferenceSolverError(f"the field of `{self.wave.problem.name}` ended in values that are not finite; check its data for overflow")
        return kept

    @property
    def _dtype(self) -> type:
        return complex if self.wave.complex_data else float

    @cached_property
    def _in_box(self) -> Array:
        mask = np.zeros(self.grid.shape, dtype=bool)
        mask[self.grid.inside] = True
        return mask

    def _axes(self) -> tuple[tuple[Axis, ...], dict[tuple[int, int], LayerDesign]]:
        """Axes of the grid; a face into free space gets a layer, or so many cells that nothing returns in time where those are fewer."""
        wave, scheme = self.wave, self.scheme
        axes, layers = [], {}
        for axis, (low, high) in enumerate(wave.conditions.bounds):
            # Even, so that every second node can be kept.
            cells = 2 * max(int(np.ceil((high - low) / scheme.step / 2 - 1e-9)), FEWEST_CELLS // 2)
            h = (high - low) / cells
            reach = int(np.ceil(0.525 * wave.fastest * (wave.span[1] - wave.span[0]) / h)) + 2 * scheme.order
            design = design_layer(h, wave.fastest, scheme.frequency, wavelengths=scheme.layer_wavelengths)
            extra = {-1: 0, 1: 0}
            for side in (-1, 1):
                if (axis, side) in wave.open_faces:
                    extra[side] = min(reach, design.cells)
                    if design.cells < reach:
                        layers[axis, side] = design
            axes.append(Axis(low, high, cells, before=extra[-1], behind=extra[1]))
        return tuple(axes), layers

    def _ends(self) -> list[tuple[str, str]]:
        names = {(axis, side): "open" for axis in range(len(self.axes)) for side in (-1, 1)}
        for row in self.wave.conditions.rows:
            if self.scheme.mirrors or self.scheme.order == 2:
                names[row.axis, row.side] = "even" if row.is_neumann else "odd"
            else:
                names[row.axis, row.side] = "flux" if row.is_neumann else "pinned"
        return [(names[axis, -1], names[axis, 1]) for axis in range(len(self.axes))]


class _Forcing:
    """Sources and walls of one shot."""

    def __init__(self, run: DeclaredRun, squared_speed: Array, shot: int) -> None:
        self._run, self._speed2 = run, squared_speed
        wave = run.wave
        self._source = _InTime(wave.sources[shot], wave, list(np.meshgrid(*run.grid.data_axes(), indexing="ij")))
        self._outside = ~run._in_box if wave.open_faces else None
        self._slopes, self._values = [], []
        for row in wave.conditions.rows:
            index, points = self._wall(row)
            data = _InTime(select_shot(sp.sympify(row.value), shot), wave, points)
            if row.is_neumann:
                gain = run.lines[row.axis].wall_gain(row.side)
                self._slopes.append((index, gain * squared_speed[index], data))
            else:
                self._values.append((index, data))

    def pin(self, v: Array, derivative: int, instant: float) -> None:
        """Set the given values, or their time derivatives, at the walls."""
        for index, data in self._values:
            v[index] = data(derivative, instant)

    def drive(self, instant: float, shift: int) -> Drive:
        """What is added to v_k at an instant; `shift` counts further time derivatives."""

        def add(k: int, v: Array) -> None:
            derivative = 2 * k - 2 + shift
            source = self._source(derivative, instant)
            if not self._source.vanishes(derivative):
                v += source if self._outside is None else np.where(self._outside, 0.0, source)
            for index, factor, data in self._slopes:
                if not data.vanishes(derivative):
                    v[index] += factor * data(derivative, instant)
            self.pin(v, derivative + 2, instant)

        return add

    def _wall(self, row: FaceRow) -> tuple[tuple[Any, ...], list[Array]]:
        index: list[Any] = [slice(None)] * len(self._run.axes)
        index[row.axis] = 0 if row.side < 0 else -1
        points = np.meshgrid(*self._run.grid.data_axes(), indexing="ij")
        return tuple(index), [p[tuple(index)] for p in points]


class _InTime:
    """An expression in space and time, and its time derivatives, on fixed points.

    Terms that are a product of a function of space and one of time keep the first as an array.
    """

    def __init__(self, expression: Any, wave: DeclaredWave, points: list[Array]) -> None:
        self._expression, self._wave, self._points = sp.sympify(expression), wave, points
        self._parts: dict[int, Callable[[float], Any] | None] = {}

    def vanishes(self, derivative: int) -> bool:
        """Whether this derivative is zero identically."""
        return self._part(derivative) is None

    def __call__(self, derivative: int, instant: float) -> Any:
        """Values at the points."""
        part = self._part(derivative)
        return 0.0 if part is None else part(instant)

    def _part(self, derivative: int) -> Callable[[float], Any] | None:
        if derivative not in self._parts:
            expression = sp.diff(self._expression, self._wave.time, derivative) if derivative else self._expression
            self._parts[derivative] = None if expression == 0 else self._compiled(expression)
        return self._parts[derivative]

    def _compiled(self, expression: Any) -> Callable[[float], Any]:
        t, space = self._wave.time, self._wave.space
        factors, rest = [], []
        for term in sp.Add.make_args(expression):
            separated = _separated(term, t, space)
            if separated is None:
                rest.append(term)
            else:
                factors.append((np.array(evaluator(separated[0], space)(*self._points)), evaluator(separated[1], (t,))))
        whole = evaluator(sp.Add(*rest), (*space, t)) if rest else None

        def values(instant: float) -> Any:
            total = whole(*self._points, instant) if whole is not None else 0.0
            for shape, course in factors:
                total = total + shape * course(instant)
            return total

        return values


def _separated(term: Any, t: Any, space: tuple[Any, ...]) -> tuple[Any, Any] | None:
    """Factors in space and in time, or None. SymPy joins exp(a) exp(b) to exp(a + b), which is taken apart again."""
    in_space, in_time = sp.Integer(1), sp.Integer(1)
    for factor in sp.Mul.make_args(term):
        pieces = [factor]
        if isinstance(factor, sp.exp):
            pieces = [sp.exp(summand) for summand in sp.Add.make_args(factor.args[0])]
        for piece in pieces:
            if not piece.has(t):
                in_space = sp.Mul(in_space, piece)
            elif not piece.free_symbols & set(space):
                in_time = sp.Mul(in_time, piece)
            else:
                return None
    return in_space, in_time
