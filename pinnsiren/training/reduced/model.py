"""The result of a reduced inversion: a medium that is a network, and the fields that the grid solver finds in it.

Input: medium, declaration. Output: `ReducedModel`. Fields come from the finer grid of the run, at first use; around a uniform medium at the sources
they are the closed form of the incident wave and a spline of the scattered one.
"""

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline, RegularGridInterpolator

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.ir import MultiIndex
from pinnsiren.language.conditions import PML
from pinnsiren.language.problem import Problem
from pinnsiren.language.symbols import declaration_of
from pinnsiren.networks import Siren
from pinnsiren.reference_solvers.evaluation import evaluator
from pinnsiren.reference_solvers.inversion import DeclaredInversion, Simulator, read_inversion
from pinnsiren.training.method import StateTree
from pinnsiren.training.reduced.beliefs import TwoPhaseMedium
from pinnsiren.training.reduced.medium import NetworkMedium, log_means_at
from pinnsiren.training.reduced.survey import ASSUMED_NOISE, Survey, read_finer

Array = NDArray[Any]

DEGREE = 5
# Of the side of the box: central differences of analytic functions in double precision lose 1e-8 and 1e-6 of the first and second derivative.
FIRST_STEP, SECOND_STEP = 1e-5, 2e-4
SHARING = (
    "the fields of this solution come from a finite-difference solver of the same family (order 4, on a finer grid than the reference's nine "
    "points); only the search for the medium shares no code"
)


@dataclass(frozen=True)
class ReducedModel:
    """Medium and fields.

    Attributes:
        compiled: the problem; its rewrites may count a part of the fields as known, which is taken off here.
        declared: what it gives on the grid of the run.
        finer: on the grid of the fields.
        step: of the grid as it was asked for.
        network: its record, frequencies filled in.
        seed: of its initialisation.
        medium: squared slowness.
        deviation: (n_active,), standard deviation of log m on the nodes of the run where it may change; empty before it is known.
    """

    compiled: CompiledProblem
    declared: DeclaredInversion
    finer: DeclaredInversion
    step: float | None
    network: Siren
    seed: int
    medium: NetworkMedium | TwoPhaseMedium
    deviation: Array = dataclass_field(repr=False)
    independence: str = SHARING

    def evaluate(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[Any]:
        """Return a derivative of a field's unknown part, (n_points, n_shots), or of the squared slowness, (n_points, 1)."""
        if field_index >= len(self.problem.fields):
            return np.asarray(self._differences(lambda x: self.slowness_at(x)[:, None], points, orders))
        number = field_index
        simulator = self._simulator
        incident = simulator.frequency(number).illumination.incident_at
        values = self._differences(incident, points, orders)
        scattered = np.stack([
            real.ev(*points.T, *orders) + 1j * imaginary.ev(*points.T, *orders) for real, imaginary in self._splines(number)
        ], axis=-1)  # fmt: skip
        total = values + scattered
        field = np.conj(total) if self._signs[number] > 0 else total
        return np.asarray(field - self.compiled.known_part(number, points, orders))

    def slowness_at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the squared slowness at points (n, 2): the start outside the support."""
        start = np.broadcast_to(np.asarray(self._start(*points.T), dtype=float), (len(points),)).copy()
        inside = self._free(points)
        if inside.any():
            start[inside] = np.exp(self.medium.log_model_at(points[inside], start[inside]))
        return start

    def standard_error(self, field_index: int, points: NDArray[np.float64], orders: MultiIndex) -> NDArray[np.float64]:
        """Return the standard error of the squared slowness at points, (n_points,); NaN for derivatives and before it is known."""
        if not self.deviation.size or any(orders):
            return np.full(len(points), np.nan)
        grid, active = self.declared.modelling.grid, self.declared.active
        table = np.zeros(grid.shape)
        table[active] = self.deviation
        held = np.clip(points, grid.low, grid.high)
        values = self.slowness_at(points) * RegularGridInterpolator(grid.axes, table)(held)
        return np.where(self._free(points), values, 0.0)

    def scalar_errors(self) -> tuple[float, ...]:
        """No scalars are solved for."""
        return ()

    @property
    def unknowns(self) -> tuple[complex, ...]:
        """No scalars are solved for."""
        return ()

    def state(self) -> StateTree:
        """Return network, parameters and the grid they were found on; fields are computed again."""
        levels = [self.medium.first_contrast, self.medium.half] if isinstance(self.medium, TwoPhaseMedium) else []
        network = {name: float(getattr(self.network, name)) for name in ("width", "depth", "omega_0", "omega_hidden", "output_scale")}
        return {
            "kind": "reduced",
            "step": np.nan if self.step is None else float(self.step),
            "network": network,
            "seed": self.seed,
            "vector": self.medium.vector(),
            "levels": np.array(levels, dtype=float),
            "deviation": np.asarray(self.deviation, dtype=float),
        }

    @property
    def problem(self) -> Problem:
        """The declaration."""
        return self.compiled.original

    # -- parts --------------------------------------------------------------------------------------------------------------------------------

    @cached_property
    def _start(self) -> Any:
        return evaluator(declaration_of(self.problem.coefficients[0]).initial, self.problem.fields[0].args)

    def _free(self, points: Array) -> NDArray[np.bool_]:
        support = declaration_of(self.problem.coefficients[0]).support
        return np.ones(len(points), dtype=bool) if support is None else np.asarray(support.contains(points))

    @cached_property
    def _signs(self) -> list[int]:
        signs = {condition.field: condition.sign for condition in self.problem.conditions if isinstance(condition, PML)}
        return [signs[field] for field in self.problem.fields]

    @cached_property
    def _simulator(self) -> Simulator:
        return Simulator(self.finer.acquisition, self.finer.modelling, self.finer.start)

    @cached_property
    def _kept_splines(self) -> dict[int, list[tuple[RectBivariateSpline, RectBivariateSpline]]]:
        return {}

    def _splines(self, number: int) -> list[tuple[RectBivariateSpline, RectBivariateSpline]]:
        """Splines of the scattered fields of all shots, real and imaginary."""
        if number not in self._kept_splines:
            setting, grid = self._simulator.frequency(number), self.finer.modelling.grid
            operator, _, _ = self._simulator.fields(number, fine_model(self.medium, self.finer))
            computed = setting.discretisation.restrict(setting.illumination.solve(operator))
            self._kept_splines[number] = [
                (RectBivariateSpline(*grid.axes, shot.real, kx=DEGREE, ky=DEGREE), RectBivariateSpline(*grid.axes, shot.imag, kx=DEGREE, ky=DEGREE))
                for shot in computed
            ]
        return self._kept_splines[number]

    def _differences(self, function: Any, points: Array, orders: MultiIndex) -> Array:
        """Return a derivative of an analytic function of points by central differences."""
        side = float(np.max(np.array(self.declared.modelling.grid.high) - np.array(self.declared.modelling.grid.low)))
        if sum(orders) == 0:
            return np.asarray(function(points))
        h = side * (FIRST_STEP if sum(orders) == 1 else SECOND_STEP)
        steps = [np.array([h * (axis == k) for axis in range(len(orders))]) for k in range(len(orders))]
        axes = [axis for axis, order in enumerate(orders) for _ in range(order)]
        if len(axes) == 1:
            return np.asarray((function(points + steps[axes[0]]) - function(points - steps[axes[0]])) / (2 * h))
        first, second = (steps[axis] for axis in axes)
        if axes[0] == axes[1]:
            return np.asarray((function(points + first) - 2 * function(points) + function(points - first)) / h**2)
        corners = function(points + first + second) - function(points + first - second) - function(points - first + second)
        return np.asarray((corners + function(points - first - second)) / (4 * h**2))


def fine_model(medium: NetworkMedium | TwoPhaseMedium, finer: DeclaredInversion) -> Array:
    """Return the squared slowness on the nodes of the finer grid, means over its own cells, (n_x, n_y)."""
    grid, model = finer.modelling.grid, finer.start.copy()
    nodes = np.stack([axis[finer.active] for axis in grid.nodes], axis=-1)
    model[finer.active] = np.exp(log_means_at(medium, nodes, finer.start[finer.active], np.array(grid.step)))
    return np.asarray(model)


def build_model(compiled: CompiledProblem, survey: Survey, network: Siren, seed: int, medium: Any, deviation: Array) -> ReducedModel:
    """Return the model of a run."""
    return ReducedModel(compiled, survey.declared, survey.finer, survey.step, network, seed, medium, deviation)


def reduced_model_from_state(compiled: CompiledProblem, state: StateTree) -> ReducedModel:
    """Rebuild a model from its stored parameters; its fields are computed again at first use."""
    problem = compiled.original
    step = None if np.isnan(float(state["step"])) else float(state["step"])
    declared = read_inversion(problem, step=step, noise=ASSUMED_NOISE)
    numbers = {name: float(value) for name, value in state["network"].items()}
    network = Siren(int(numbers["width"]), int(numbers["depth"]), numbers["omega_0"], numbers["omega_hidden"], numbers["output_scale"])
    seed, levels = int(state["seed"]), np.atleast_1d(np.asarray(state["levels"], dtype=float))
    medium: NetworkMedium | TwoPhaseMedium
    medium = NetworkMedium(network, declared.modelling.grid, declared.start, declared.active, declared.bounds, seed, cells=levels.size == 2)
    if levels.size == 2:
        medium = TwoPhaseMedium(medium, declared.start, declared.bounds, (float(levels[0]), float(levels[1])))
    medium.move_to(np.asarray(state["vector"]))
    deviation = np.atleast_1d(np.asarray(state["deviation"], dtype=float))
    return ReducedModel(compiled, declared, read_finer(problem, declared), step, network, seed, medium, deviation)
