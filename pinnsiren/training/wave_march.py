"""Waves by a march: cosines of angles in space, whose amplitudes are followed through time, panel after panel.

Linear wave equations on boxes with anything that is smooth: speeds that vary, in front of or inside a divergence, damping, lower-order terms,
sources and wall data that change in time, and absorbing conditions u_t + c u_n = 0 of first order. No mode, lattice or plane wave exists for these,
and features of space and time at once need a resolution that grows with the time; the cost of a march grows with the time and no more. The system in
time is integrated by explicit steps of order 8. It is a spectral method in the clothes of features.

Reference: Trefethen (2000), Spectral methods in MATLAB, chapters 6 and 10; Engquist and Majda (1977), Math. Comp. 31, for the absorbing condition.
"""

from dataclasses import dataclass
from math import prod
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import NonFiniteError, ProblemError
from pinnsiren.training.error_estimate import estimate_from_sizes, with_the_unseen
from pinnsiren.training.least_squares import CHEAP, CHEAP_SECONDS, ENOUGH
from pinnsiren.training.method import AbstractMethod, AbstractRun, RunSettings, StateTree, Suitability
from pinnsiren.training.probes import probe_points
from pinnsiren.training.row_system import residual_system
from pinnsiren.training.sampling import sample_residual
from pinnsiren.training.wave_march_model import MarchModel, march_model_from_state, panel_coefficients, to_coefficients
from pinnsiren.training.wave_semidiscrete import MarchReading, Semidiscrete, read_march

Array = NDArray[np.float64]
FIRST_NODES = {1: 24, 2: 16, 3: 10}  # along an axis of the mean length
MOST_NODES = {1: 800, 2: 128, 3: 32}
MOST_STORED = 40_000_000  # numbers of a model: 320 MB
GROWTH = 1.4
COST = 0.7
N_FRESH = 1200
PHASE = 8.0  # radians of the fastest wave that is resolved per panel: with 20 nodes the error is (PHASE / 4)^20 / 20! = 4e-13
PANEL_NODES = 20
RELATIVE, ABSOLUTE = 1e-10, 1e-12  # tolerances of the steps, those of the field on the scale of its largest value
PANEL = panel_coefficients(PANEL_NODES)
CALLS = 2.5  # evaluations of the system per radian of its highest frequency, 7.4 n c / half a length: 12 per step, which is stable to 5 radians
OVERHEAD, SPEED = 2e-4, 1e9  # seconds per evaluation, and operations per second, on a nominal machine: counts and no clock, so that runs repeat
FIRST_SHARE = 0.2  # of the budget that the first size may take
RESOLVED = 1e-2  # share of the largest coefficient that initial data may leave in the last tenth of the first size


@dataclass(frozen=True)
class WaveMarch(AbstractMethod):
    """Settings of the march.

    Attributes:
        nodes: nodes along an axis of mean length at the first size; None refines until the initial data are seen.
        growth: ratio of one size to the next, per axis.
    """

    nodes: int | None = None
    growth: float = GROWTH

    def __post_init__(self) -> None:
        if self.nodes is not None and (isinstance(self.nodes, bool) or not isinstance(self.nodes, int) or self.nodes < 4):
            raise ProblemError(f"WaveMarch was given nodes={self.nodes!r}; expected a whole number of 4 or more")
        if not self.growth > 1:
            raise ProblemError(f"WaveMarch was given growth={self.growth!r}; expected a number above 1")

    def suits(self, compiled: CompiledProblem) -> Suitability:
        """Fits linear wave equations with smooth coefficients of space on boxes with one condition on every face."""
        found = read_march(compiled)
        if not isinstance(found, str):
            try:
                Semidiscrete(compiled, found, (4,) * len(found.limits))
            except ValueError as error:
                found = str(error)
        if isinstance(found, str):
            return Suitability(False, found, np.inf)
        crossed = found.fastest * (found.span[1] - found.span[0]) / float(np.max(found.limits[:, 1] - found.limits[:, 0]))
        return Suitability(True, f"cosines of angles in space, followed through time in panels ({crossed:.2g} crossings of the box)", COST)

    def start(self, compiled: CompiledProblem, settings: RunSettings) -> "WaveMarchRun":
        """Begin at the first size that sees the initial data."""
        return WaveMarchRun(self, compiled, settings)


def counts_of(reading: MarchReading, nodes: float) -> tuple[int, ...]:
    """Return the number of cosines per axis, in the ratio of the lengths."""
    lengths = reading.limits[:, 1] - reading.limits[:, 0]
    return tuple(max(4, round(nodes * length / float(np.prod(lengths)) ** (1 / len(lengths)))) for length in lengths)


def fit_march(compiled: CompiledProblem, reading: MarchReading, counts: tuple[int, ...]) -> MarchModel:
    """Return the solution with given numbers of cosines.

    Raises:
        NonFiniteError: the system has no finite solution up to the last instant.
    """
    system = Semidiscrete(compiled, reading, counts)
    panels = panels_of(reading, counts)
    start, end = reading.span
    edges = np.linspace(start, end, panels + 1)
    inside = 0.5 * (1 - np.cos(np.pi * np.arange(PANEL_NODES) / (PANEL_NODES - 1)))
    instants = np.append((edges[:-1, None] + (end - start) / panels * inside[None, :-1]).ravel(), end)
    state = system.initial_state()
    size = float(np.max(np.abs(state[: len(state) // 2]), initial=0.0)) or 1.0
    with np.errstate(all="ignore"):
        result = solve_ivp(
            system.rates, (start, end), state, method="DOP853", t_eval=instants, rtol=RELATIVE, atol=ABSOLUTE * size,
            max_step=0.5 * (end - start) / panels,
        )  # fmt: skip
    if not result.success or not np.all(np.isfinite(result.y)):
        raise NonFiniteError("the march in time: the equation or a condition feeds the wave without bound")
    values = result.y[: len(state) // 2].T.reshape(len(instants), *system.shape)
    for instant, field in zip(instants, values, strict=True):
        system.close(field, float(instant))
    last = PANEL_NODES - 1
    stacked = np.stack([values[index * last : index * last + PANEL_NODES] for index in range(panels)])
    in_time = np.moveaxis(np.tensordot(PANEL, stacked, axes=(1, 1)), 0, 1)
    return MarchModel(reading.limits, edges, np.ascontiguousarray(in_time))


def panels_of(reading: MarchReading, counts: tuple[int, ...]) -> int:
    """Return the number of panels: n cosines resolve wavenumbers up to about 2 n / length, in the middle of an axis."""
    lengths = reading.limits[:, 1] - reading.limits[:, 0]
    highest = float(np.max(2 * np.array(counts) / lengths))
    return max(1, int(np.ceil((reading.span[1] - reading.span[0]) * reading.fastest * highest / PHASE)))


class WaveMarchRun(AbstractRun):
    """Sizes that grow until the estimate meets the tolerance."""

    def __init__(self, method: WaveMarch, compiled: CompiledProblem, settings: RunSettings) -> None:
        found = read_march(compiled)
        assert not isinstance(found, str)
        self.method, self.compiled, self.settings, self.reading = method, compiled, settings, found
        self.first = float(method.nodes or self._first_nodes())
        self.probes = probe_points(compiled)
        self.level, self.estimate, self.last_seconds, self.confirmed = 0, np.inf, 0.0, False
        self.models: list[MarchModel] = []
        self.residuals: list[float] = []

    def _first_nodes(self) -> float:
        """Return the fewest nodes on which the initial data show how they fall off."""
        dimension = len(self.reading.limits)
        nodes = float(FIRST_NODES[dimension])
        while nodes * self.method.growth**2 < MOST_NODES[dimension]:
            if self._nominal_seconds(nodes * self.method.growth) > FIRST_SHARE * self.settings.seconds:
                break
            counts = counts_of(self.reading, nodes)
            system = Semidiscrete(self.compiled, self.reading, counts)
            value, _ = system.initial_state().reshape(2, *system.shape)
            for axis, n in enumerate(counts):
                value = np.moveaxis(np.tensordot(to_coefficients(n), value, axes=(1, axis)), 0, axis)
            rim = np.max([np.arange(n + 1).reshape([-1 if o == a else 1 for o in range(dimension)]) / n + 0 * value for a, n in enumerate(counts)], 0)
            size = np.abs(value)
            if np.max(size[rim > 0.9]) <= RESOLVED * np.max(size, initial=1e-300):
                break
            nodes *= self.method.growth
        return nodes

    def _nominal_seconds(self, nodes: float) -> float:
        """Return what a size takes on a nominal machine."""
        reading, counts = self.reading, counts_of(self.reading, nodes)
        lengths = reading.limits[:, 1] - reading.limits[:, 0]
        highest = 7.4 * reading.fastest * float(np.linalg.norm(2 * np.array(counts) / lengths))
        work = 4 * prod(n + 1 for n in counts) * sum(counts)
        return CALLS * (reading.span[1] - reading.span[0]) * highest * (OVERHEAD + work / SPEED)

    def _counts(self, level: int) -> tuple[int, ...]:
        return counts_of(self.reading, self.first * self.method.growth**level)

    def step(self) -> dict[str, float]:
        """Solve at the next size."""
        begun = perf_counter()
        model = fit_march(self.compiled, self.reading, self._counts(self.level))
        self.models = [*self.models[-1:], model]
        fresh = self._fresh(model)
        if len(self.models) == 2:
            zero = (0,) * self.probes.shape[1]
            values, before = (m.evaluate(0, self.probes, zero) for m in (model, self.models[0]))
            ratio = fresh / max(self.residuals[-1], 1e-300)
            self.estimate = estimate_from_sizes([values], [before], [np.zeros((1, 1))], ratio, fresh)
        self.residuals.append(fresh)
        self.level, self.confirmed, self.last_seconds = self.level + 1, False, perf_counter() - begun
        return {"size": float(prod(model.values.shape[2:])), "fresh_residual": fresh, "estimated_error": self.estimate}

    def _fresh(self, model: MarchModel) -> float:
        """Return the scaled residual of the whole declaration at fresh points, relative to the field."""
        system, seed = residual_system(self.compiled), 1_000_003 * self.settings.seed + 17
        samples = [sample_residual(self.compiled, r, N_FRESH, seed + 31 * i) for i, r in enumerate(self.compiled.ir.residuals)]
        return system.residual_norm(samples, model) / self._amplitude(model)

    def _amplitude(self, model: MarchModel) -> float:
        return float(np.sqrt(np.mean(model.evaluate(0, self.probes, (0,) * self.probes.shape[1]) ** 2))) or 1.0

    def _is_last(self) -> bool:
        counts = self._counts(self.level)
        stored = PANEL_NODES * panels_of(self.reading, counts) * prod(n + 1 for n in counts)
        return self.first * self.method.growth**self.level > MOST_NODES[len(counts)] or stored > MOST_STORED

    def stop_reason(self, elapsed: float) -> tuple[str, str] | None:
        """Decide after each size from the second on."""
        if len(self.models) < 2:
            return None
        settings, next_seconds, left = self.settings, self.predicted_seconds(), self.settings.seconds - elapsed
        is_last, stalls = self._is_last(), self.residuals[-1] >= self.residuals[-2]
        if self.estimate <= settings.tolerance:
            cheap = next_seconds < min(left, max(CHEAP * left, CHEAP_SECONDS))
            if settings.refine_while_cheap and cheap and self.estimate > ENOUGH and not is_last and not stalls:
                return None
            self._confirm()
            if self.estimate <= settings.tolerance:
                return "success", f"the estimated error {self.estimate:.2g} is at or below the tolerance {settings.tolerance:.2g}"
        wanted = f"the estimated error is {self.estimate:.2g}, above the tolerance {settings.tolerance:.2g}"
        if is_last:
            return "tolerance_not_reached", (
                f"{wanted}: a march allows {MOST_NODES[len(self.reading.limits)]} cosines along an axis and {MOST_STORED} numbers in all. Something "
                "in the solution is too sharp for them (initial values and conditions that do not fit together where they meet, for instance), or "
                "the time is too long: declare a shorter time, or solve it in parts"
            )
        if next_seconds > left:
            used = f"{elapsed:.0f} s of {settings.seconds:g} s are used"
            return "out_of_time", f"{wanted}: the next size needs about {next_seconds:.0f} s, {used}. Raise seconds, or loosen tolerance"
        return None

    def _confirm(self) -> None:
        """Look once, before a size is called a success, for what the nodes missed."""
        if not self.confirmed:
            self.confirmed, model = True, self.models[-1]
            cost, seed = prod(model.values.shape[2:]), 1_000_003 * self.settings.seed + 3
            self.estimate = with_the_unseen(self.estimate, self.compiled, model, self.residuals[-1], self._amplitude(model), cost, seed)

    def predicted_seconds(self) -> float:
        """Return the cost of the next size: steps grow with the square of the nodes of an axis, each with their number and that of the dimension."""
        return float(self.last_seconds * self.method.growth ** (2 + len(self.reading.limits)))

    def error_estimate(self) -> float:
        """Return the estimate of the last size."""
        return self.estimate

    def model(self) -> MarchModel:
        """Return the last size."""
        return self.models[-1]

    def state(self) -> StateTree:
        """Return the last two sizes and the counters."""
        numbers = {name: getattr(self, name) for name in ("first", "level", "estimate", "last_seconds", "confirmed")}
        models = {str(index): model.state() for index, model in enumerate(self.models)}
        return {**numbers, "residuals": np.array(self.residuals), "models": models}

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        self.first, self.level, self.confirmed = float(state["first"]), int(state["level"]), bool(state["confirmed"])
        self.estimate, self.last_seconds = float(state["estimate"]), float(state["last_seconds"])
        self.residuals = [float(value) for value in state["residuals"]]
        self.models = [march_model_from_state(state["models"][str(index)]) for index in range(len(state["models"]))]
