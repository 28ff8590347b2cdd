"""Waves by a march: cosines of angles in space, whose amplitudes are followed through time, panel after panel.

Linear wave equations on boxes with anything that is smooth: speeds that vary, in front of or inside a divergence, damping, lower-order terms,
sources and wall data that change in time, and absorbing conditions u_t + c u_n = 0 of first order. No mode, lattice or plane wave exists for these,
and features of space and time at once need a resolution that grows with the time; the cost of a march grows with the time and no more. The system in
time is integrated by explicit steps of order 8. It is a spectral method in the clothes of features.

Reference: Trefethen (2000), Spectral methods in MATLAB, chapters 6 and 10; Engquist and Majda (1977), Math. Comp. 31, for the absorbing condition.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from pinnsiren.compiler.pipeline import CompiledProblem
from pinnsiren.errors import NonFiniteError, ProblemError
from pinnsiren.training.growing_run import GrowingRun
from pinnsiren.training.method import AbstractMethod, RunSettings, StateTree, Suitability
from pinnsiren.training.wave_march_model import MarchModel, march_model_from_state, panel_coefficients, to_coefficients
from pinnsiren.training.wave_semidiscrete import MarchReading, Semidiscrete, read_march

Array = NDArray[np.float64]
FIRST_NODES = {1: 24, 2: 16, 3: 10}  # along an axis of the mean length
MOST_NODES = {1: 800, 2: 128, 3: 32}
MOST_STORED = 40_000_000  # numbers of a model: 320 MB
GROWTH = 1.4
COST = 0.7
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


class WaveMarchRun(GrowingRun[MarchModel]):
    """Sizes that grow until the estimate meets the tolerance."""

    def __init__(self, method: WaveMarch, compiled: CompiledProblem, settings: RunSettings) -> None:
        super().__init__(compiled, settings)
        found = read_march(compiled)
        assert not isinstance(found, str)
        self.method, self.reading = method, found
        self.first = float(method.nodes or self._first_nodes())

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

    def _nodes(self) -> float:
        return self.first * self.method.growth**self.level

    def fit(self) -> MarchModel:
        """Return the next size."""
        return fit_march(self.compiled, self.reading, counts_of(self.reading, self._nodes()))

    def size(self, model: MarchModel) -> int:
        """Return the number of cosines."""
        return prod(model.values.shape[2:])

    def is_last(self) -> bool:
        """Whether the next size has more nodes, or more numbers to keep, than are allowed."""
        counts = counts_of(self.reading, self._nodes())
        stored = PANEL_NODES * panels_of(self.reading, counts) * prod(n + 1 for n in counts)
        return self._nodes() > MOST_NODES[len(counts)] or stored > MOST_STORED

    def exhausted(self) -> str:
        """Return the limit, its likely cause and the remedy."""
        return (
            f"a march allows {MOST_NODES[len(self.reading.limits)]} cosines along an axis and {MOST_STORED} numbers in all. Something "
            "in the solution is too sharp for them (initial values and conditions that do not fit together where they meet, for instance), or "
            "the time is too long: declare a shorter time, or solve it in parts"
        )

    def predicted_seconds(self) -> float:
        """Return the cost of the next size: steps grow with the square of the nodes of an axis, each with their number and that of the dimension."""
        return float(self.last_seconds * self.method.growth ** (2 + len(self.reading.limits)))

    def state(self) -> StateTree:
        """Return the last two sizes and the counters."""
        return {**super().state(), "first": self.first}

    def restore(self, state: StateTree) -> None:
        """Continue from a state."""
        super().restore(state)
        self.first = float(state["first"])

    def restored_model(self, state: StateTree) -> MarchModel:
        """Return a size from its state."""
        return march_model_from_state(state)
