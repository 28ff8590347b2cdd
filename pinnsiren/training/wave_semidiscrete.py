"""A linear wave equation on the nodes of cosines of angles: a system of ordinary differential equations in time.

    alpha u_tt + delta u_t + sum_i (a_i u_ii + b_i u_i) + m u + f(x, t) = 0   inside,   p u + q u_n + r u_t + g(x, t) = 0   on every face

Input: a compiled problem. Output: `MarchReading` or why there is none, and `Semidiscrete`, whose state is u and u_t on the nodes. Where r = 0 the
value on a face follows from those inside; else, as for the absorbing condition u_t + c u_n = 0, it evolves by itself.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.apply_free_space import NAME as FREE_SPACE
from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.compiler.residual_program import ResidualProgram
from pinnsiren.ir import MultiIndex, partial_derivative
from pinnsiren.language.conditions import Dirichlet
from pinnsiren.language.domains import Box, SpaceTime
from pinnsiren.training.scaling import linear_weights
from pinnsiren.training.wave_march_model import nodes, on_nodes

Array = NDArray[np.float64]
N_LOOKS = 2000
NEGLIGIBLE = 1e-12  # of the largest coefficient on a face: no derivative at all


@dataclass(frozen=True)
class MarchReading:
    """What the declaration says.

    Attributes:
        equation: its program.
        faces: (axis, side) -> program of the condition there, side 0 or 1; None for u = 0, which other methods build in.
        initial: programs of initial value and time derivative; of the value alone where the equation is of first order in time.
        limits: (n_space, 2), the box of the computation.
        span: first and last instant.
        fastest: largest speed, or largest diffusivity.
    """

    equation: ResidualProgram
    faces: dict[tuple[int, int], ResidualProgram | None]
    initial: tuple[ResidualProgram, ...]
    limits: Array
    span: tuple[float, float]
    fastest: float


def read_march(compiled: CompiledProblem) -> MarchReading | str:
    """Return the parts of a linear wave equation on a box with one condition on every face, or why the problem is none."""
    ir, domain = compiled.ir, compiled.ir.domain
    if {name for name, _ in compiled.rewritten.applied} - {FREE_SPACE}:
        return "rewrites other than free space are not made for a march"
    programs = linear_programs(compiled, "wave equation")
    if isinstance(programs, str):
        return programs
    assert isinstance(domain, SpaceTime) and isinstance(domain.space, Box), "others are refused"
    dimension = len(ir.coordinates)
    if len(programs["equation"]) != 1 or len(programs["initial"]) != 2:
        return "one equation, an initial value and an initial time derivative are needed"
    reading = faces_of(programs["condition"], built_in_faces(compiled), domain, dimension)
    if isinstance(reading, str):
        return reading
    (equation,), initial = programs["equation"], sorted(programs["initial"], key=lambda program: max(jet.orders[-1] for jet in program.jets))
    if {jet.orders for jet in equation.jets} - set(second_orders(dimension)) - set(lower_orders(dimension)):
        return "it holds mixed derivatives or those of higher order"
    speeds = _fastest(equation, domain, dimension)
    if isinstance(speeds, str):
        return speeds
    limits = np.array([domain.space.bounds[symbol] for symbol in domain.space.coordinates], dtype=float)
    return MarchReading(equation, reading, (initial[0], initial[1]), limits, domain.time_bounds, speeds)


def linear_programs(compiled: CompiledProblem, kind: str) -> dict[str, list[ResidualProgram]] | str:
    """Return the programs of a linear evolution on a box by their kind, or why the problem is none.

    Args:
        compiled: the problem.
        kind: of equation, for the reason.
    """
    ir, domain = compiled.ir, compiled.ir.domain
    if not isinstance(domain, SpaceTime) or not isinstance(domain.space, Box):
        return "the domain is no box and a time"
    if len(ir.is_complex) != 1 or ir.is_complex[0] or ir.unknowns or ir.coefficients or ir.penalties or ir.n_shots > 1:
        return "it is not one real field with known coefficients"
    programs: dict[str, list[ResidualProgram]] = {"equation": [], "condition": [], "initial": []}
    for program in compiled.programs:
        if program.residual.kind not in programs or not program.is_affine:
            return f"{program.residual.label} is no part of a linear {kind} with smooth coefficients"
        factors = [partial_derivative(program.residual.expression, jet.symbol) for jet in program.jets]
        if any(ir.coordinates[-1] in factor.free_symbols or factor.has(sp.Piecewise) for factor in factors):
            return "its coefficients jump or change in time"
        programs[program.residual.kind].append(program)
    return programs


def second_orders(dimension: int) -> list[MultiIndex]:
    """Return the pure second derivatives, that in time last."""
    return [tuple(2 * (axis == other) for other in range(dimension)) for axis in range(dimension)]


def lower_orders(dimension: int) -> list[MultiIndex]:
    """Return the first derivatives, that in time last, and the value."""
    return [*[tuple(int(axis == other) for other in range(dimension)) for axis in range(dimension)], (0,) * dimension]


def built_in_faces(compiled: CompiledProblem) -> list[str]:
    """Return the faces with u = 0, whose residuals are satisfied by construction and therefore missing from the programs."""
    problem, names = compiled.rewritten.problem, []
    for condition in problem.conditions:
        if isinstance(condition, Dirichlet):
            labels = {residual.region.part: residual.label for residual in condition.residuals(problem.domain)}
            names += [part for part, label in labels.items() if part is not None and label in compiled.ir.by_construction]
    return names


def faces_of(
    programs: list[ResidualProgram], built_in: list[str], domain: SpaceTime, dimension: int
) -> dict[tuple[int, int], ResidualProgram | None] | str:
    """Return the condition on every face, (axis, side) -> program, None for u = 0, or why there is not one on each."""
    faces: dict[tuple[int, int], ResidualProgram | None] = {}
    for name in built_in:
        axis, side = domain.space.face(name)  # type: ignore[attr-defined]
        faces[axis, int(side > 0)] = None
    for program in programs:
        region = program.residual.region
        if region.kind != "part" or region.part not in domain.space.boundary_parts() or program.residual.given is not None:
            return f"{program.residual.label} does not hold on a face at all times"
        axis, side = domain.space.face(region.part)  # type: ignore[attr-defined]
        if (axis, int(side > 0)) in faces:
            return f"the face {region.part} has two conditions"
        if {jet.orders for jet in program.jets} - set(lower_orders(dimension)):
            return f"{program.residual.label} holds second derivatives"
        faces[axis, int(side > 0)] = program
    missing = set(product(range(dimension - 1), (0, 1))) - set(faces)
    return f"{len(missing)} faces have no condition" if missing else faces


def _fastest(equation: ResidualProgram, domain: SpaceTime, dimension: int) -> float | str:
    """Return the largest speed, at sampled points."""
    parts = partials_at(equation, domain.sample_interior(N_LOOKS, 5), None)[0]
    *space, in_time = [parts.get(orders, np.zeros(1)) for orders in second_orders(dimension)]
    if np.any(in_time == 0):
        return "it is of first order in time somewhere"
    squares = [-values / in_time for values in space]
    if not all(np.all(np.isfinite(square)) and np.min(square) > 0 for square in squares):
        return "the squared speed is not positive"
    return float(np.sqrt(max(np.max(square) for square in squares)))


def partials_at(program: ResidualProgram, points: Array, normals: Array | None) -> tuple[dict[MultiIndex, Array], Array]:
    """Return the coefficient of every derivative, and what is left without the field, each (n_points,)."""
    zero = [np.zeros((len(points), 1)) for _ in program.jets]
    partials, rest = linear_weights(program, program.coefficients(points, normals), zero, [], len(points))
    return {jet.orders: np.real(partial[:, 0]) for jet, partial in zip(program.jets, partials, strict=True)}, np.real(rest[:, 0])


class _Data:
    """What an equation or a condition prescribes at its points: computed once where it does not change in time."""

    def __init__(self, program: ResidualProgram | None, points: Array, normals: Array | None, shape: tuple[int, ...], time: Any) -> None:
        self.program, self.points, self.normals, self.shape, self.moves = program, points.copy(), normals, shape, False
        self.parts: dict[MultiIndex, Array] = {(0,) * points.shape[1]: np.ones(len(points))}
        self.steady = np.zeros(shape)
        if program is None:
            return
        self.parts, rest = partials_at(program, self.points, normals)
        self.steady = rest.reshape(shape)
        self.moves = time in program.residual.expression.free_symbols
        self.zero = [np.zeros((len(points), 1)) for _ in program.jets]

    def part(self, orders: MultiIndex) -> Array:
        """Return the coefficient of a derivative."""
        return self.parts.get(orders, np.zeros(len(self.points))).reshape(self.shape)

    def at(self, time: float) -> Array:
        """Return the data at an instant."""
        if not self.moves or self.program is None:
            return self.steady
        self.points[:, -1] = time
        value = self.program.compile([self.program.algebra])(self.program.coefficients(self.points, self.normals), self.zero, [])[0]
        return np.real(np.broadcast_to(value, (len(self.points), 1)))[:, 0].reshape(self.shape)


class Semidiscrete:
    """The system on (n_1 + 1) x ... nodes; without a second derivative in time it serves diffusion (`diffusion_march`).

    Attributes:
        shape: numbers of nodes.
    """

    def __init__(self, compiled: CompiledProblem, reading: MarchReading, counts: tuple[int, ...]) -> None:
        self.reading, self.shape = reading, tuple(n + 1 for n in counts)
        dimension, time = len(counts) + 1, compiled.ir.coordinates[-1]
        positions = [0.5 * (low + high + (high - low) * nodes(n)) for (low, high), n in zip(reading.limits, counts, strict=True)]
        mesh = np.stack(np.meshgrid(*positions, indexing="ij"), axis=-1)
        self.points = np.concatenate([mesh.reshape(-1, dimension - 1), np.full((mesh[..., 0].size, 1), reading.span[0])], axis=1)
        self.first = [on_nodes(n, high - low) for (low, high), n in zip(reading.limits, counts, strict=True)]
        inside = tuple(slice(1, -1) for _ in counts)
        self.inside = inside
        grid = self.points.reshape(*self.shape, dimension)
        interior = grid[inside].reshape(-1, dimension)
        self.data = _Data(reading.equation, interior, None, tuple(n - 1 for n in counts), time)
        second, lower = second_orders(dimension), lower_orders(dimension)
        self.in_time, self.damping, self.mass = self.data.part(second[-1]), self.data.part(lower[-2]), self.data.part(lower[-1])
        self.stretch = [self.data.part(orders) for orders in second[:-1]]
        self.drift = [self.data.part(orders) for orders in lower[:-2]]
        self.rows = [matrix[1:-1] for matrix in self.first]
        self.rows_of_second = [(matrix @ matrix)[1:-1] for matrix in self.first]
        self.faces: dict[tuple[int, int], _Data] = {}
        for (axis, side), program in reading.faces.items():
            points = np.take(grid, -side, axis=axis).reshape(-1, dimension)
            normals = np.zeros_like(points)
            normals[:, axis] = 2 * side - 1
            shape = tuple(n for other, n in enumerate(self.shape) if other != axis)
            self.faces[axis, side] = _Data(program, points, normals, shape, time)
        self.evolving = {face: self._rate(face, lower) for face in self.faces}

    def _rate(self, face: tuple[int, int], lower: list[MultiIndex]) -> Array | None:
        """Return the coefficient of u_t in a condition, None where it has none.

        Raises:
            ValueError: derivatives along the face, or a coefficient that vanishes on a part of it.
        """
        data, axis = self.faces[face], face[0]
        size = max(float(np.max(np.abs(part), initial=0.0)) for part in data.parts.values())
        for other, orders in enumerate(lower[:-2]):
            if other != axis and np.max(np.abs(data.part(orders)), initial=0.0) > NEGLIGIBLE * size:
                raise ValueError("a condition holds a derivative along its face")
        rate = data.part(lower[-2])
        if np.max(np.abs(rate)) <= NEGLIGIBLE * size:
            return None
        if np.min(np.abs(rate)) <= NEGLIGIBLE * size:
            raise ValueError("a condition holds a time derivative on a part of its face only")
        return rate

    def initial_state(self) -> Array:
        """Return u and u_t on all nodes at the first instant."""
        values = []
        for order, program in enumerate(self.reading.initial):
            parts, rest = partials_at(program, self.points, None)
            given = program.residual.given
            wanted = 0.0 if given is None else np.real(given(self.points)[:, 0])
            factor = next(part for orders, part in parts.items() if orders[-1] == order)
            values.append((wanted - rest) / factor)
        return np.concatenate(values)

    def close(self, field: Array, time: float) -> None:
        """Fill in, in place, the values on faces that follow from those inside; twice, since edges follow from faces."""
        for axis in (*range(len(self.shape)), *range(len(self.shape) - 1)):
            self._close_axis(np.moveaxis(field, axis, 0), axis, time)

    def _close_axis(self, lines: Array, axis: int, time: float) -> None:
        sides = [side for side in (0, 1) if self.evolving[axis, side] is None]
        if not sides:
            return
        matrix, kept = self.first[axis], lines.copy()
        kept[[-side for side in sides]] = 0.0
        rights, entries = [], {}
        for side in sides:
            data = self.faces[axis, side]
            value, slope = self._value(data), self._slope(data, axis)
            along = np.tensordot(matrix[-side], kept, axes=1)
            rights.append(-(data.at(time) + slope * along))
            for other in sides:
                entries[side, other] = value * (side == other) + slope * matrix[-side, -other]
        if len(sides) == 1:
            lines[-sides[0]] = rights[0] / entries[sides[0], sides[0]]
            return
        determinant = entries[0, 0] * entries[1, 1] - entries[0, 1] * entries[1, 0]
        lines[0] = (rights[0] * entries[1, 1] - entries[0, 1] * rights[1]) / determinant
        lines[-1] = (entries[0, 0] * rights[1] - entries[1, 0] * rights[0]) / determinant

    def _value(self, data: _Data) -> Array:
        return data.part((0,) * (len(self.shape) + 1))

    def _slope(self, data: _Data, axis: int) -> Array:
        return data.part(tuple(int(axis == other) for other in range(len(self.shape) + 1)))

    def rates(self, time: float, state: Array) -> Array:
        """Return the time derivative of the state."""
        size = len(state) // 2
        field, speed = state[:size].reshape(self.shape).copy(), state[size:].reshape(self.shape)
        self.close(field, time)
        total = self.at_rest(time, field) + self.damping * speed[self.inside]
        result = np.zeros((2, *self.shape))
        result[0][self.inside] = speed[self.inside]
        result[1][self.inside] = -total / self.in_time
        for (axis, side), rate in self.evolving.items():
            if rate is not None:
                data, lines = self.faces[axis, side], np.moveaxis(field, axis, 0)
                along = np.tensordot(self.first[axis][-side], lines, axes=1)
                change = -(self._value(data) * lines[-side] + self._slope(data, axis) * along + data.at(time)) / rate
                np.moveaxis(result[0], axis, 0)[-side] = change
        return result.ravel()

    def at_rest(self, time: float, field: Array) -> Array:
        """Return what the equation makes of a closed field without its time derivatives, on the inner nodes."""
        total = self.data.at(time) + self.mass * field[self.inside]
        for axis, (stretch, drift) in enumerate(zip(self.stretch, self.drift, strict=True)):
            line = field[tuple(slice(None) if other == axis else slice(1, -1) for other in range(len(self.shape)))]
            total += stretch * _along(self.rows_of_second[axis], line, axis)
            if np.any(drift):
                total += drift * _along(self.rows[axis], line, axis)
        return np.asarray(total)


def _along(matrix: Array, values: Array, axis: int) -> Array:
    """Apply a matrix along an axis."""
    if axis == values.ndim - 1:
        return np.asarray(values @ matrix.T)
    return np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)
