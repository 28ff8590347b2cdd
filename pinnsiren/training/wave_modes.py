"""Modes of a medium whose speed varies smoothly: every mode oscillates at a frequency of its own.

    u_tt = c^2(x) Lap u - m(x) u,   u = sum_j phi_j(x) (a_j cos(w_j t) + b_j sin(w_j t) / w_j),   c^2 Lap phi - m phi = -w^2 phi

In a medium that varies no plane wave satisfies the equation; its modes do. They are found in sine features of space that satisfy the conditions on
the faces (symmetric eigenvalue problem on the nodes of the features), and only initial values are fitted, for any length of time. It is a spectral
method in the clothes of features. Free faces are walls so far away that nothing comes back in the time declared.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import scipy.linalg
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import ProblemError
from pinnsiren.ir import Jet, MultiIndex, partial_derivative
from pinnsiren.language.domains import SpaceTime
from pinnsiren.language.numeric import evaluator
from pinnsiren.training.growing_run import GrowingRun
from pinnsiren.training.method import AbstractMethod, RunSettings, StateTree, Suitability
from pinnsiren.training.mode_basis import AxisBasis, axis_basis
from pinnsiren.training.wave_cell import FREE, ODD, WaveCell, in_free_space, initial_data, wave_cell

FIRST_MODES = {1: 60, 2: 400, 3: 600}
MOST_MODES = 7000  # a matrix of 400 MB
GROWTH = 1.8
COST = 0.6
CHUNK = 2048
SLOWEST = 1e-7  # frequency times duration below which a mode counts as standing still
BEYOND = 1.02  # of the way that the fastest waves go out and back in the time declared


@dataclass(frozen=True)
class WaveModes(AbstractMethod):
    """Settings of the modes.

    Attributes:
        modes: number of modes at the first size; None chooses by the dimension.
        maximum_modes: largest number.
        growth: ratio of one size to the next.
    """

    modes: int | None = None
    maximum_modes: int = MOST_MODES
    growth: float = GROWTH

    def __post_init__(self) -> None:
        for name, low in (("modes", 8), ("maximum_modes", 8), ("growth", 1)):
            value = getattr(self, name)
            if value is not None and not (value > 1 if name == "growth" else value >= low):
                raise ProblemError(f"WaveModes was given {name}={value!r}; expected a number of {low} or more")

    @property
    def knows_free_space(self) -> bool:
        """Faces without a condition are free space."""
        return True

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits initial value problems of one wave equation with smooth coefficients of space, on boxes with mirrors or free faces."""
        found = read_medium(in_free_space(compiled))
        if isinstance(found, str):
            return Suitability(False, found, np.inf)
        return Suitability(True, "modes of the medium in sine features, each with its own frequency: only initial data are fitted", COST)

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "WaveModesRun":
        """Begin at the first size."""
        return WaveModesRun(self, in_free_space(compiled), settings)


@dataclass(frozen=True)
class SmoothMedium:
    """What the equation says of the medium.

    Attributes:
        squared_speed: function of points (n, n_coordinates) -> c^2 along the first axis and m, each (n,).
        ratios: c^2 along every axis over that along the first.
        cell: faces and support of the data.
        fastest: largest speed, by samples.
    """

    squared_speed: Any
    ratios: tuple[float, ...]
    cell: WaveCell
    fastest: float

    def axes(self, duration: float, total: int) -> tuple[AxisBasis, ...]:
        """Return the functions along every axis; free faces move away so far that nothing comes back."""
        limits, kinds = [], []
        for (low, high), (first, second) in zip(self.cell.limits, self.cell.kinds, strict=True):
            away = 0.5 * BEYOND * self.fastest * duration
            limits.append((low - away * (first == FREE), high + away * (second == FREE)))
            kinds.append((first or ODD, second or ODD))
        lengths = [high - low for low, high in limits]
        per_length = (total / prod(lengths)) ** (1 / len(lengths))
        counts = [max(4, round(per_length * length)) for length in lengths]
        return tuple(axis_basis(low, high, kind, n) for (low, high), kind, n in zip(limits, kinds, counts, strict=True))


def read_medium(compiled: CompiledProblem) -> SmoothMedium | str:
    """Return the medium of a wave equation, or why the problem has no modes."""
    ir, domain = compiled.ir, compiled.original.domain
    if not isinstance(domain, SpaceTime) or len(compiled.original.fields) != 1 or len(compiled.original.equations) != 1:
        return "it is not one equation of one field in space and time"
    if compiled.rewritten.applied or ir.unknowns or ir.n_shots > 1 or any(ir.is_complex):
        return "rewrites, unknown coefficients, shots and complex fields are not made for modes"
    (expression,) = [residual.expression for residual in ir.residuals if residual.kind == "equation"]
    read = _coefficients(expression, compiled)
    if isinstance(read, str):
        return read
    functions, ratios = read
    points = domain.sample_interior(4096, seed=5)
    squared, mass = (np.real(values) for values in functions(points))
    if np.min(squared) <= 0 or not np.all(np.isfinite(mass)):
        return "the squared speed is not positive"
    fastest = float(np.sqrt(np.max(squared) * max(ratios)))
    cell = wave_cell(compiled, fastest)
    if isinstance(cell, str):
        return cell
    if sum(residual.kind == "initial" for residual in ir.residuals) != 2:
        return "initial value and initial time derivative are needed, and nothing else"
    return SmoothMedium(functions, ratios, cell, fastest)


def _coefficients(expression: Any, compiled: CompiledProblem) -> tuple[Any, tuple[float, ...]] | str:
    """Return (c^2, m) as a function of points, and the ratios of c^2 along the axes."""
    coordinates, jets = compiled.ir.coordinates, compiled.ir.jets
    dimension = len(coordinates)
    second = [Jet(0, tuple(2 if other == axis else 0 for other in range(dimension))) for axis in range(dimension)]
    zeroth = Jet(0, (0,) * dimension)
    names = {jet.symbol for jet in jets}
    if {jet.symbol for jet in jets if jet.symbol in expression.free_symbols} - {jet.symbol for jet in (*second, zeroth)}:
        return "it holds other derivatives than those of a wave equation"
    values = [partial_derivative(expression, jet.symbol) for jet in (*second, zeroth)]
    if any(value.free_symbols & names or value.has(sp.Piecewise) or coordinates[-1] in value.free_symbols for value in values):
        return "its coefficients jump, change in time or hold the field"
    if expression.xreplace(dict.fromkeys(names, sp.Integer(0))) != 0:
        return "it has a source"
    *space, in_time, mass = values
    if in_time == 0 or any(value == 0 for value in space):
        return "it is no wave equation"
    ratios = [sp.simplify(value / space[0]) for value in space]
    if any(not ratio.is_number for ratio in ratios):
        return "its speeds along the axes are in no constant ratio"
    return evaluator([-space[0] / in_time, mass / in_time], coordinates), tuple(float(ratio) for ratio in ratios)


@dataclass(frozen=True)
class ModeModel:
    """Modes with their amplitudes.

    Attributes:
        axes: functions along every axis.
        shapes: (n_functions, n_modes), the modes in products of these functions.
        frequencies: (n_modes,), w_j.
        amplitudes: (n_modes,), complex: real part of amplitude exp(i w (t - start)) is meant.
        start: first instant.
    """

    axes: tuple[AxisBasis, ...]
    shapes: NDArray[np.float64]
    frequencies: NDArray[np.float64]
    amplitudes: NDArray[np.complex128]
    start: float

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative, (n_points, 1)."""
        factor = self.amplitudes * (1j * self.frequencies) ** orders[-1]
        pieces = [self._piece(points[first : first + CHUNK], orders, factor) for first in range(0, len(points), CHUNK)]
        return np.concatenate(pieces)[:, None] if pieces else np.zeros((0, 1))

    def _piece(self, points: NDArray[np.float64], orders: MultiIndex, factor: NDArray[np.complex128]) -> NDArray[np.float64]:
        product: NDArray[np.float64] = np.ones((len(points), 1))
        for axis, basis in enumerate(self.axes):
            values = basis.values(points[:, axis], orders[axis])
            product = (product[:, :, None] * values[:, None, :]).reshape(len(points), -1)
        angle = np.outer(points[:, -1] - self.start, self.frequencies)
        course = np.cos(angle) * factor.real - np.sin(angle) * factor.imag
        return np.asarray(np.sum((product @ self.shapes) * course, axis=1))

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """Media are known."""
        return ()

    def state(self) -> StateTree:
        """Return modes and amplitudes."""
        names = ("nodes", "waves", "phases", "factors")
        axes = {str(i): {"low": a.low, **{name: getattr(a, name) for name in names}} for i, a in enumerate(self.axes)}
        arrays = {"shapes": self.shapes, "frequencies": self.frequencies, "amplitudes": self.amplitudes}
        return {"kind": "modes", "axes": axes, "start": self.start, **arrays}


def mode_model_from_state(state: StateTree) -> ModeModel:
    """Rebuild a model from its stored modes."""
    axes = []
    for index in range(len(state["axes"])):
        entry = state["axes"][str(index)]
        axes.append(AxisBasis(float(entry["low"]), *[np.asarray(entry[name]) for name in ("nodes", "waves", "phases", "factors")]))
    shapes, frequencies, amplitudes = (np.asarray(state[name]) for name in ("shapes", "frequencies", "amplitudes"))
    return ModeModel(tuple(axes), shapes, frequencies, amplitudes, float(state["start"]))


def fit_modes(compiled: CompiledProblem, medium: SmoothMedium, total: int) -> ModeModel:
    """Return the modes of a medium with the amplitudes of the initial values.

    With v = u / c the operator on the nodes, c K c + m with K of -Lap, is symmetric.
    """
    domain = compiled.original.domain
    assert isinstance(domain, SpaceTime)
    start, end = domain.time_bounds
    axes = medium.axes(end - start, total)
    mesh = np.meshgrid(*[axis.nodes for axis in axes], indexing="ij")
    points = np.stack([*[array.ravel() for array in mesh], np.full(mesh[0].size, start)], axis=1)
    inside = np.all([(low <= p) & (p <= high) for p, (low, high) in zip(points.T, medium.cell.limits, strict=False)], axis=0)
    # The medium continues beyond free faces as it is on them; the data vanish there.
    clipped = np.column_stack([*[np.clip(p, low, high) for p, (low, high) in zip(points.T, medium.cell.limits, strict=False)], points[:, -1]])
    squared, mass = (np.real(values) for values in medium.squared_speed(clipped))
    speed = np.sqrt(squared)
    operator = np.zeros((len(points), len(points)))
    shape = mesh[0].shape
    for index, (axis, ratio) in enumerate(zip(axes, medium.ratios, strict=True)):
        before, after = prod(shape[:index]), prod(shape[index + 1 :])
        operator += np.kron(np.kron(np.eye(before), ratio * axis.second_derivative()), np.eye(after))
    operator *= speed[:, None] * speed[None, :]
    operator[np.diag_indices(len(points))] += mass
    squares, vectors = scipy.linalg.eigh(operator, overwrite_a=True, check_finite=True)
    frequencies = np.maximum(np.sqrt(np.maximum(squares, 0)), SLOWEST / (end - start))
    value, rate = (vectors.T @ (np.real(data) * inside / speed) for data in initial_data(compiled)(clipped))
    nodal = speed[:, None] * vectors
    for index, axis in enumerate(axes):
        moved = np.moveaxis(nodal.reshape(*shape, -1), index, 0)
        changed = np.tensordot(axis.values(axis.nodes).T, moved, axes=1)
        nodal = np.moveaxis(changed, 0, index).reshape(len(points), -1)
    return ModeModel(axes, nodal, frequencies, value - 1j * rate / frequencies, start)


class WaveModesRun(GrowingRun[ModeModel]):
    """Modes whose number grows until the estimate meets the tolerance."""

    def __init__(self, method: WaveModes, compiled: CompiledProblem, settings: RunSettings) -> None:
        super().__init__(compiled, settings)
        found = read_medium(compiled)
        assert not isinstance(found, str)
        self.method, self.medium = method, found
        self.first = method.modes or FIRST_MODES.get(len(found.cell.limits), 600)

    def fit(self) -> ModeModel:
        """Return the next size."""
        return fit_modes(self.compiled, self.medium, self._n_modes())

    def _n_modes(self) -> int:
        return int(self.first * self.method.growth**self.level)

    def size(self, model: ModeModel) -> int:
        """Return the number of modes."""
        return len(model.frequencies)

    def cost(self, model: ModeModel) -> int:
        """Return four numbers per mode: a product of features, cosine and sine in time."""
        return 4 * len(model.frequencies)

    def is_last(self) -> bool:
        """Whether the next size has more modes than are allowed."""
        return self._n_modes() > self.method.maximum_modes

    def exhausted(self) -> str:
        """Return the limit and the remedy."""
        return f"{self.method.maximum_modes} modes are allowed; raise WaveModes(maximum_modes=...)"

    def predicted_seconds(self) -> float:
        """Return the cost of the next size: that of eigenvalues grows with the third power."""
        return float(self.last_seconds * self.method.growth**3)

    def restored_model(self, state: StateTree) -> ModeModel:
        """Return a size from its state."""
        return mode_model_from_state(state)
