"""The periodic cell of a wave problem on a box: how its data continue beyond the walls, and how far.

Input: a compiled problem with constant coefficients and homogeneous walls, periodic faces or faces without a condition. Output: `WaveCell`. A wall
with u = 0 is a mirror with change of sign, one with du/dn = 0 a mirror without; a face without a condition means free space, and the cell is so
long that the waves of the neighbouring cells do not arrive in the time declared.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.compiler.apply_free_space import NAME as FREE_SPACE
from pinnsiren.compiler.apply_free_space import without_layers
from pinnsiren.compiler.pipeline import CompiledProblem, compile_problem
from pinnsiren.language.conditions import Dirichlet, InitialCondition, Neumann, Periodic
from pinnsiren.language.domains import Box, SpaceTime
from pinnsiren.language.locations import parts_of
from pinnsiren.language.numeric import evaluator

FREE, ODD, EVEN, PERIODIC = 0, -1, 1, 2
SUPPORT = 1e-14  # of the largest value: where the data begin
AT_FACE = 1e-10  # of the largest value: data on a free face above this reach beyond it, and nobody said what they are there
LOOKS = {1: 4096, 2: 320, 3: 72}  # points per axis where the support is looked for
SLACK = 1.03  # of the length of a cell: the edge of the support is known up to a cell of that look


@dataclass(frozen=True)
class WaveCell:
    """A period of the data along every axis.

    Attributes:
        limits: (low, high) of the declared box per axis.
        kinds: (low, high) kind of face per axis.
        starts: first position of the cell per axis.
        periods: length of the cell per axis.
    """

    limits: tuple[tuple[float, float], ...]
    kinds: tuple[tuple[int, int], ...]
    starts: tuple[float, ...]
    periods: tuple[float, ...]

    def folded(self, axis: int, positions: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return positions inside the declared box, and the factors (1, -1 or 0) that the data there get."""
        (low, high), (first, second) = self.limits[axis], self.kinds[axis]
        length = high - low
        if first == PERIODIC:
            return low + np.mod(positions - low, length), np.ones(len(positions))
        if first == FREE and second == FREE:
            return np.clip(positions, low, high), _inside(positions, low, high)
        if first != FREE and second != FREE:
            phase = np.mod(positions - low, 4 * length)
            quarter = np.minimum((phase / length).astype(int), 3)
            offset = np.where(quarter % 2 == 0, phase - quarter * length, (quarter + 1) * length - phase)
            return low + offset, np.array([1, second, first * second, first], dtype=float)[quarter]
        wall, sign, beyond = (low, first, positions < low) if first != FREE else (high, second, positions > high)
        mirrored = np.where(beyond, 2 * wall - positions, positions)
        return np.clip(mirrored, low, high), np.where(beyond, sign, 1.0) * _inside(mirrored, low, high)

    def grid(self, counts: tuple[int, ...]) -> list[NDArray[np.float64]]:
        """Return evenly spaced positions of one cell per axis."""
        return [start + period * np.arange(n) / n for start, period, n in zip(self.starts, self.periods, counts, strict=True)]

    def sampled(self, functions: Any, counts: tuple[int, ...], time: float) -> list[NDArray[Any]]:
        """Return the continued data on a grid of the cell, each of shape `counts`."""
        pairs = [self.folded(axis, positions) for axis, positions in enumerate(self.grid(counts))]
        mesh = np.meshgrid(*[inside for inside, _ in pairs], indexing="ij")
        factor = np.ones(counts)
        for axis, (_, signs) in enumerate(pairs):
            factor = factor * signs.reshape([-1 if other == axis else 1 for other in range(len(counts))])
        points = np.stack([*[array.ravel() for array in mesh], np.full(mesh[0].size, time)], axis=1)
        return [values.reshape(counts) * factor for values in functions(points)]


def _inside(positions: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return ((positions >= low) & (positions <= high)).astype(float)


def initial_data(compiled: CompiledProblem) -> Any:
    """Return the initial value, and time derivative if given, as a function of points, in the order of their time derivatives."""
    conditions = sorted((c for c in compiled.original.conditions if isinstance(c, InitialCondition)), key=lambda c: c.time_order)
    return evaluator([condition.value for condition in conditions], compiled.original.coordinates)


def in_free_space(compiled: CompiledProblem) -> CompiledProblem:
    """Return the problem with faces without a condition in place of layers, for methods whose waves leave through such faces by themselves."""
    if [name for name, _ in compiled.rewritten.applied] != [FREE_SPACE]:
        return compiled
    return compile_problem(without_layers(compiled.original), charts=())


def wave_cell(compiled: CompiledProblem, speed: float) -> WaveCell | str:
    """Return the cell, or why there is none.

    Args:
        compiled: a problem in space and time.
        speed: of the fastest waves.
    """
    domain = compiled.original.domain
    if not isinstance(domain, SpaceTime) or not isinstance(domain.space, Box):
        return "the space is no box"
    kinds = _face_kinds(compiled)
    if isinstance(kinds, str):
        return kinds
    limits = [domain.space.bounds[symbol] for symbol in domain.space.coordinates]
    free = any(FREE in pair for pair in kinds)
    support = _support(compiled, limits, kinds) if free else None
    if isinstance(support, str):
        return support
    starts, periods = [], []
    for axis, ((low, high), (first, second)) in enumerate(zip(limits, kinds, strict=True)):
        length = high - low
        if FREE not in (first, second):
            starts.append(low)
            periods.append(length if first == PERIODIC else 2 * length if first == second else 4 * length)
            continue
        assert support is not None
        left, right = support[axis]
        if first != FREE:
            left, low = 2 * low - right, 2 * low - high
        elif second != FREE:
            right, high = 2 * high - left, 2 * high - low
        period = SLACK * (max(high - left, right - low) + speed * domain.duration)
        starts.append(0.5 * (left + right) - 0.5 * period)
        periods.append(period)
    return WaveCell(tuple(limits), tuple(kinds), tuple(starts), tuple(periods))


def _face_kinds(compiled: CompiledProblem) -> list[tuple[int, int]] | str:
    domain = compiled.original.domain
    assert isinstance(domain, SpaceTime)
    faces: dict[str, int] = {}
    for condition in compiled.original.conditions:
        if isinstance(condition, InitialCondition):
            if condition.expression not in (condition.expression.doit(), compiled.original.fields[0]):
                return "an initial condition is not on the field or its time derivative"
            continue
        if isinstance(condition, Periodic):
            faces.update(dict.fromkeys(condition.faces(domain), PERIODIC))
            continue
        named = parts_of(condition.on, domain) if isinstance(condition, (Dirichlet, Neumann)) else ()
        if not named or not set(named) <= set(domain.space.boundary_parts()) or getattr(condition, "value", None) != 0:
            return f"{type(condition).__name__} is no homogeneous condition on a face"
        for name in named:
            if name in faces:
                return f"the face {name} has two conditions"
            faces[name] = ODD if isinstance(condition, Dirichlet) else EVEN
    return [(faces.get(f"{symbol}-", FREE), faces.get(f"{symbol}+", FREE)) for symbol in domain.space.coordinates]


def _support(compiled: CompiledProblem, limits: list[tuple[float, float]], kinds: list[tuple[int, int]]) -> list[tuple[float, float]] | str:
    """Return per axis where the data begin and end, or a text when they reach a free face."""
    domain = compiled.original.domain
    assert isinstance(domain, SpaceTime)
    count = LOOKS.get(len(limits), 16)
    axes = [np.linspace(low, high, count) for low, high in limits]
    mesh = np.meshgrid(*axes, indexing="ij")
    points = np.stack([*[array.ravel() for array in mesh], np.full(mesh[0].size, domain.time_bounds[0])], axis=1)
    largest = np.zeros(mesh[0].shape)
    for values in initial_data(compiled)(points):
        size = np.abs(values).reshape(largest.shape)
        largest = np.maximum(largest, size / max(float(size.max()), 1e-300))
    found = []
    for axis, ((low, high), pair) in enumerate(zip(limits, kinds, strict=True)):
        profile = largest.max(axis=tuple(other for other in range(len(limits)) if other != axis))
        for side, kind, value in (("-", pair[0], profile[0]), ("+", pair[1], profile[-1])):
            if kind == FREE and value > AT_FACE:
                return f"the initial data do not vanish at the face {domain.space.coordinates[axis]}{side}, which has no condition"
        where = np.flatnonzero(profile > SUPPORT)
        step = (high - low) / (count - 1)
        found.append((max(low, axes[axis][where[0]] - step), min(high, axes[axis][where[-1]] + step)) if len(where) else (low, high))
    return found
